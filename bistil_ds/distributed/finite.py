"""Look for numbers that are not finite, in weights (partitioned or not) and in gradients before an update.

A tensor counts as finite if its 2-norm in fp32 is finite. An entry of about 2e19 or more therefore counts as not
finite: its square overflows in fp32, as it would in a loss or in AdamW.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from bistil_ds.distributed.gathering import gathered
from bistil_ds.distributed.partitions import full_size, is_in_place, is_partitioned, parts


@torch.no_grad()
def non_finite_parameters(model: nn.Module) -> list[str]:
    """Return the names of the parameters that hold non-finite entries on this rank. Every rank must take part.

    Under ZeRO-3 each rank looks at its own share of a parameter. A parameter whose share is offloaded is gathered, and
    gathering needs every rank. A tied parameter is listed under its first name.
    """
    parameters = dict(model.named_parameters())
    norms = [_norm_held(parameter) for parameter in parameters.values()]
    if not norms:
        return []
    finite = torch.stack([norm.to(norms[0].device) for norm in norms]).isfinite().tolist()
    return [name for name, is_finite in zip(parameters, finite, strict=True) if not is_finite]


def _norm_held(parameter: nn.Parameter) -> Tensor:
    if is_partitioned(parameter) and is_in_place(parameter):
        share, first = parts(parameter)[0]
        return _norm(share[: max(0, full_size(parameter) - first)])  # what follows is padding
    with gathered([parameter]):
        return _norm(parameter)


def _norm(tensor: Tensor) -> Tensor:
    return torch.linalg.vector_norm(tensor.detach(), dtype=torch.float32)


def watch_gradients(engine: Any, check: Callable[[float], None]) -> bool:
    """Make an engine call `check` with the gradients' norm before each update, if it trains in fp32 without ZeRO.

    Such an engine clips gradients as plain torch does, and does not keep their norm. When `check` is called, the ranks
    have already averaged their gradients, so every rank gets the same norm.

    Returns:
        True if the engine trains in fp32 without ZeRO.
    """
    if hasattr(engine.optimizer, "_global_grad_norm"):
        return False
    from deepspeed.runtime.utils import clip_grad_norm_

    step, limit = engine.step, engine.gradient_clipping()

    def clip_and_check() -> None:  # the engine's own method, except that `check` gets the norm
        check(float(clip_grad_norm_(parameters=engine.module.parameters(), max_norm=limit, mpu=engine.mpu)))

    def checked_step(*args: Any, **kwargs: Any) -> Any:
        if engine.is_gradient_accumulation_boundary():
            check(float(get_total_norm([one.grad for one in engine.module.parameters() if one.grad is not None])))
        return step(*args, **kwargs)

    if limit > 0:
        engine.clip_fp32_gradients = clip_and_check
    else:
        engine.step = checked_step
    return True


def keep_skipping(engine: Any) -> None:
    """Let DeepSpeed skip further updates, instead of raising, once fp16's loss scale is at its minimum.

    The trainer decides how many skips in a row stop a run.
    """
    scaler: Any = getattr(engine.optimizer, "loss_scaler", None)
    if hasattr(scaler, "raise_error_at_min_scale"):
        scaler.raise_error_at_min_scale = False
