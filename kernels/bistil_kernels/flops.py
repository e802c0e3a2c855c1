"""FLOP formulas of all our operators, for `torch.utils.flop_counter`.

They follow the counter's convention: only matrix products count, and a multiply and an add are two operations. Each
formula is in the folder of its operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch

from bistil_kernels.attention_map.flops import FORMULAS as OF_ATTENTION_MAP
from bistil_kernels.hidden_state.flops import FORMULAS as OF_HIDDEN_STATE
from bistil_kernels.linear_logits.flops import FORMULAS as OF_LINEAR_LOGITS
from bistil_kernels.logits.flops import FORMULAS as OF_LOGITS
from bistil_kernels.runtime.choice import chosen, has_triton
from bistil_kernels.runtime.flops import FORMULAS as OF_SCALING
from bistil_kernels.sparse.adamw.flops import FORMULAS as OF_ADAMW
from bistil_kernels.sparse.entries.flops import FORMULAS as OF_ENTRIES

# module that defines operators → name of operator → formula
OPERATORS: Mapping[str, Mapping[str, Callable[..., int]]] = {
    "attention_map.fused": OF_ATTENTION_MAP,
    "hidden_state.fused": OF_HIDDEN_STATE,
    "linear_logits.fused": OF_LINEAR_LOGITS,
    "logits.fused": OF_LOGITS,
    "runtime.scaling": OF_SCALING,
    "sparse.adamw.fused": OF_ADAMW,
    "sparse.entries.fused": OF_ENTRIES,
}


def formulas() -> dict[Any, Callable[..., int]]:
    """Return operator → formula for each operator of `bistil_kernels`. The call imports the operators and Triton.

    If Triton is not installed, or "torch" was chosen (see `bistil_kernels.use`), there are no operators and the mapping
    is empty.
    """
    if not has_triton() or chosen() == "torch":
        return {}
    found: dict[Any, Callable[..., int]] = {}
    for module, of_module in OPERATORS.items():
        import_module(f"bistil_kernels.{module}")
        found |= {getattr(torch.ops.bistil_kernels, name): formula for name, formula in of_module.items()}
    return found
