"""Look for numbers that are not finite: in weights, however they are held, and in gradients before an update.

Numbers count as finite if the 2-norm of their tensor is, in fp32. So entries from about 1e19 on do not: their squares
overflow, in this norm as in a loss or in AdamW.
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
    """Return the names of the parameters whose entries on this rank are not finite. Every rank must take part.

    Under ZeRO-3 each rank looks at its share. A tied parameter has its first name.
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
        return _norm(share[: max(0, full_size(parameter) - first)])  # padding follows
    with gathered([parameter]):
        return _norm(parameter)


def _norm(tensor: Tensor) -> Tensor:
    return torch.linalg.vector_norm(tensor.detach(), dtype=torch.float32)


def watch_gradients(engine: Any, check: Callable[[float], None]) -> bool:
    """Call `check` with the norm of the gradients before each update, where DeepSpeed trains in fp32 without ZeRO.

    There the engine clips and steps as plain torch does, and drops the norm that it clips by. The gradients are those
    of all ranks, so that every rank gets the same norm.

    Returns:
        Whether this is such an engine.
    """
    if hasattr(engine.optimizer, "_global_grad_norm"):
        return False
    from deepspeed.runtime.utils import clip_grad_norm_

    step, limit = engine.step, engine.gradient_clipping()

    def clip_and_check() -> None:  # what the engine does, but the norm is kept
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
    """Let DeepSpeed go on to skip updates once the loss scale of fp16 is at its minimum, instead of raising.

    How many skips in a row stop a run is the trainer's to say.
    """
    scaler: Any = getattr(engine.optimizer, "loss_scaler", None)
    if hasattr(scaler, "raise_error_at_min_scale"):
        scaler.raise_error_at_min_scale = False
