"""Distillation losses, usable alone: they need nothing but torch.

Masks are True on real tokens. Gradients go to student inputs only. Nothing real gives 0, never NaN.
"""

from bistil_kernels.attention_map import attention_map_loss
from bistil_kernels.hidden_state import hidden_state_loss
from bistil_kernels.linear_logits import linear_distillation_kl
from bistil_kernels.logits import distillation_kl

__all__ = ["attention_map_loss", "distillation_kl", "hidden_state_loss", "linear_distillation_kl"]
