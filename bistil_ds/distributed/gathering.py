"""Read parameters in fp32, whole or as this rank's share, with and without DeepSpeed and at every ZeRO stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bistil_ds.distributed.partitions import first_held, full_shape, full_size, is_partitioned, parts


@contextmanager
def gathered(parameters: Sequence[Tensor], *, written: bool = False) -> Iterator[None]:
    """Gather parameters that ZeRO-3 partitions, so that each is whole inside the block. Every rank must take part.

    Args:
        written: True if the block changes the parameters. After the block, every rank has the values of rank 0.
    """
    partitioned = [parameter for parameter in parameters if is_partitioned(parameter)]
    if not partitioned:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(partitioned, modifier_rank=0 if written else None):
        yield


def link_masters(optimizer: Any) -> None:
    """Set `_fp32_master` on each parameter whose fp32 master the engine's optimizer holds whole on every rank.

    A master is the fp32 copy that the optimizer updates. In bf16 or fp16 without ZeRO, each parameter has a master;
    with DeepSpeed's FusedAdam, each group of parameters has one flat master. At ZeRO-1 to ZeRO-3 nothing is set,
    because DeepSpeed's own functions find the masters.
    """
    for group, masters in zip(getattr(optimizer, "fp16_groups", ()), _masters_of(optimizer)):
        for parameter, master in zip(group, masters):
            parameter._fp32_master = master.view(parameter.shape)


def _masters_of(optimizer: Any) -> Iterator[Sequence[Tensor]]:
    """Yield the masters of each group; for FusedAdam, views of the flat master that each step changes in place."""
    if hasattr(optimizer, "fp32_groups"):
        yield from optimizer.fp32_groups
    elif isinstance(getattr(optimizer, "fp32_groups_flat", None), list):
        for group, flat in zip(optimizer.fp16_groups, optimizer.fp32_groups_flat):
            yield flat.detach().split([parameter.numel() for parameter in group])


def full_fp32(parameter: nn.Parameter) -> Tensor:
    """Return a copy of the whole parameter on the CPU, in fp32. Every rank must take part.

    If DeepSpeed trains in bf16 or fp16, this copies the fp32 master.
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
    """Return (the parameter's entries on this rank, flat and in fp32; the first entry's flat index).

    Under ZeRO-3 the entries are this rank's share without padding, otherwise the whole parameter. If DeepSpeed trains
    in bf16 or fp16, they come from the fp32 master (see `full_fp32`). Every rank must take part.
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
