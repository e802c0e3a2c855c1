"""Named settings of phase 1: `--preset NAME` stands for these flags, and flags beside it count instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "bistil": {  # BiStil (arXiv 2306.01709), section 3.1
        "hidden_weight": "1",
        "attention_weight": "1",
    },
    "best": {  # no attention term, a higher learning rate: see docs/results.md, "A better phase 1"
        "hidden_weight": "1",
        "attention_weight": "0",
        "learning_rate": 5e-4,
    },
    "distilmbert": {  # DistilBERT (arXiv 1910.01108), section 3, with the weights of its authors' code
        "hidden_loss": "cosine",
        "align_layers": "last",
        "hidden_weight": "1",
        "attention_weight": "0",
        "logit_weight": "5",
        "mlm_weight": "2",
    },
    "minilmv2": {  # MiniLMv2 (arXiv 2012.15828), section 3
        "hidden_weight": "0",
        "attention_weight": "0",
        "relation_weight": "1",
    },
}
