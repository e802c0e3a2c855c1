"""Distillation losses and sparse updates: Triton kernels on CUDA tensors, plain PyTorch elsewhere (see `use`).

The package works without the rest of this project: it needs torch, and Triton for its kernels.
Masks are True on real tokens. Gradients go to student inputs only. A mean over no real token is 0, never NaN.
"""

from bistil_kernels.attention_map.reference import attention_map_loss
from bistil_kernels.hidden_state.reference import hidden_state_loss
from bistil_kernels.linear_logits.reference import linear_distillation_kl
from bistil_kernels.logits.reference import distillation_kl
from bistil_kernels.runtime.choice import use
from bistil_kernels.sparse.adamw.reference import SparseAdamW
from bistil_kernels.sparse.delta import restore_starts, write_deltas
from bistil_kernels.sparse.entries.reference import gather_at, swap_in
from bistil_kernels.sparse.top_k.reference import top_k_delta
from bistil_kernels.sparse.types import SparseDelta

__all__ = [
    "SparseAdamW",
    "SparseDelta",
    "attention_map_loss",
    "distillation_kl",
    "gather_at",
    "hidden_state_loss",
    "linear_distillation_kl",
    "restore_starts",
    "swap_in",
    "top_k_delta",
    "use",
    "write_deltas",
]
