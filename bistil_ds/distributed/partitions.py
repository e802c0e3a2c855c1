"""Find, read and write the entries of a parameter that this process holds.

Without ZeRO-3 a process holds all entries, in one tensor. Under ZeRO-3 it holds only its share and, while the parameter
is gathered, a copy of all entries.
"""

from __future__ import annotations

from typing import Any

import torch


def is_partitioned(parameter: torch.Tensor) -> bool:
    """Return whether ZeRO-3 manages the parameter (it may still leave a small one whole on every rank)."""
    return hasattr(parameter, "ds_id")


def full_shape(parameter: torch.Tensor) -> tuple[int, ...]:
    """Return the shape of the whole parameter, even if this rank holds only a share of it."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def full_size(parameter: torch.Tensor) -> int:
    """Return the number of entries of the whole parameter, even if this rank holds only a share of it."""
    return torch.Size(full_shape(parameter)).numel()


def first_held(parameter: Any) -> int:
    """Return the flat index of the first entry of this rank's share under ZeRO-3."""
    first: int = parameter.ds_tensor.ds_numel * torch.distributed.get_rank(group=parameter.ds_process_group)
    return first


def range_held(parameter: Any) -> tuple[int, int]:
    """Return (first, end): the range of flat indices that may be read or written on this rank.

    The range is this rank's share with its padding, or all entries if the parameter is whole on every rank.
    """
    if not is_partitioned(parameter) or parameter.ds_persist:
        return 0, full_size(parameter)
    return first_held(parameter), first_held(parameter) + parameter.ds_tensor.ds_numel


def free_gathered(parameter: Any) -> None:
    """Drop the gathered copy of a partitioned parameter; the next use gathers the parameter again from the shares."""
    parameter.partition()


def is_in_place(parameter: Any) -> bool:
    """Return whether this rank's share of a partitioned parameter can be read and written in place."""
    share = parameter.ds_tensor
    plain = parameter.ds_secondary_tensor is None and not hasattr(share, "ds_quant_scale")
    return plain and bool(share.status.name == "AVAILABLE")


def parts(parameter: Any) -> list[tuple[torch.Tensor, int]]:
    """Return the tensors on this rank that hold entries of the parameter: (flat tensor, flat index of its first entry).

    Under ZeRO-3 the first tensor is this rank's share. Later gathers read it, and it may end in padding. The second
    tensor is the gathered copy, if there is one.

    Raises:
        RuntimeError: the share cannot be read or written in place (quantised, on NVMe, hierarchical).
    """
    if not is_partitioned(parameter):
        return [(parameter.data.view(-1), 0)]
    if not is_in_place(parameter):
        raise RuntimeError("entries cannot be swapped in quantised, NVMe-offloaded or hierarchical (hpZ) partitions")
    found = [(parameter.ds_tensor.data.view(-1), first_held(parameter))]
    if parameter.ds_status.name == "AVAILABLE":
        found.append((parameter.data.view(-1), 0))
    return found


def entries_between(indices_K: torch.Tensor, first: int, last: int) -> slice:
    """Return the slice of `indices_K` (ascending) that holds the indices in [first, last)."""
    bounds = torch.tensor([first, last], device=indices_K.device, dtype=indices_K.dtype)
    low, high = torch.searchsorted(indices_K, bounds).tolist()
    return slice(low, high)


def wait_for_writes(parameter: torch.Tensor, part: torch.Tensor) -> None:
    """Wait until writes into `part` are done, if ZeRO-3 manages the parameter: ZeRO-3 gathers on another stream."""
    if is_partitioned(parameter) and part.is_cuda:
        torch.cuda.current_stream(part.device).synchronize()


def write_entries(parameter: torch.Tensor, indices_K: torch.Tensor, values_K: torch.Tensor) -> None:
    """Write `values_K` at the flat `indices_K` (ascending), as far as this rank holds these entries.

    The values are cast to the parameter's dtype.
    """
    for part, first in parts(parameter):
        here = entries_between(indices_K, first, first + part.numel()) if is_partitioned(parameter) else slice(None)
        part[(indices_K[here].long() - first).to(part.device)] = values_K[here].to(part)
        wait_for_writes(parameter, part)


def write_whole(parameter: torch.Tensor, value: torch.Tensor) -> None:
    """Write `value`, which has the parameter's full shape, as far as this rank holds the parameter's entries."""
    flat = value.reshape(-1)
    for part, first in parts(parameter):
        here = flat[first : first + part.numel()]
        part[: len(here)].copy_(here)
        wait_for_writes(parameter, part)
