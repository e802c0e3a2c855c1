"""Read parameters whole, or by shares in fp32, however DeepSpeed holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bistil_ds.distributed.partitions import first_held, full_shape, full_size, is_partitioned, parts


@contextmanager
def gathered(parameters: Sequence[Tensor], *, written: bool = False) -> Iterator[None]:
    """Make the parameters that ZeRO-3 partitions whole within the block; every rank takes part.

    Args:
        written: True where the block changes them; every rank then keeps what rank 0 leaves in them.
    """
    partitioned = [parameter for parameter in parameters if is_partitioned(parameter)]
    if not partitioned:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(partitioned, modifier_rank=0 if written else None):
        yield


def link_masters(optimizer: Any) -> None:
    """Note on each parameter its fp32 master, where an engine's optimizer keeps one for each parameter.

    ZeRO-0 in bf16 does so; the other stages note it themselves.
    """
    for group, masters in zip(getattr(optimizer, "fp16_groups", ()), getattr(optimizer, "fp32_groups", ())):
        for parameter, master in zip(group, masters):
            parameter._fp32_master = master


def full_fp32(parameter: nn.Parameter) -> Tensor:
    """Return a copy of the whole parameter on the CPU, in fp32. Every rank takes part.

    Where training is bf16, the fp32 master is copied.
    """
    if (master := getattr(parameter, "_fp32_master", None)) is not None:
        return master.detach().cpu().clone()
    if parameter.dtype != torch.float32 and (is_partitioned(parameter) or hasattr(parameter, "_hp_mapping")):
        from deepspeed.utils import safe_get_full_fp32_param

        if (master := safe_get_full_fp32_param(parameter)) is not None:
            return master.detach().float().cpu().reshape(full_shape(parameter)).clone()
    with gathered([parameter]):
        return parameter.detach().float().cpu().clone()


def share_fp32(parameter: Any) -> tuple[Tensor, int]:
    """Return what this rank holds of a parameter, flat and in fp32, and the flat index of its first entry.

    Under ZeRO-3 that is a share, without padding; otherwise it is the whole parameter. It comes from the fp32 master
    where training is bf16. Every rank takes part.
    """
    if not is_partitioned(parameter):
        whole = parameter.detach() if parameter.dtype == torch.float32 else full_fp32(parameter).to(parameter.device)
        return whole.reshape(-1), 0
    first = first_held(parameter)
    share = parts(parameter)[0][0]
    if parameter.dtype != torch.float32:
        from deepspeed.utils import safe_get_local_fp32_param

        share = safe_get_local_fp32_param(parameter).reshape(-1)
    return share[: max(0, full_size(parameter) - first)].float(), first
