"""Named settings of phase 1's losses: `--preset NAME` stands for these flags, and flags beside it count instead."""

from __future__ import annotations

from collections.abc import Mapping

PRESETS: Mapping[str, Mapping[str, str]] = {
    "bistil": {  # BiStil (arXiv 2306.01709), section 3.1
        "hidden_weight": "1",
        "attention_weight": "1",
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
