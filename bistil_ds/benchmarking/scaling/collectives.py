"""Count the bytes that collectives send. All of them go through PyTorch's dispatcher, whichever library calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class SentBytes(TorchDispatchMode):
    """Mode that counts the bytes that a rank sends in the collectives of `COUNTED`.

    Each collective is taken to be a ring, as NCCL's are for large messages.

    Args:
        ranks: number of ranks that take part in each collective.

    Attributes:
        by_name: name of a collective → bytes sent.
    """

    def __init__(self, ranks: int) -> None:
        super().__init__()
        self.ranks = ranks
        self.by_name: dict[str, float] = {}

    @property
    def total(self) -> float:
        """Return the bytes that all collectives sent."""
        return sum(self.by_name.values())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func.namespace == "c10d" and (count := COUNTED.get(name := func._schema.name.removeprefix("c10d::"))):
            self.by_name[name] = self.by_name.get(name, 0.0) + count(args, self.ranks)
        return func(*args, **(kwargs or {}))


def _bytes(tensors: Any) -> int:
    if isinstance(tensors, Tensor):
        return tensors.numel() * tensors.element_size()
    return sum(_bytes(each) for each in tensors)


def _all_reduce(args: Sequence[Any], ranks: int) -> float:
    return 2 * (ranks - 1) / ranks * _bytes(args[0])


def _gather(args: Sequence[Any], ranks: int) -> float:
    """Return the bytes sent; `args` starts with the tensors to gather into, followed by this rank's own tensors."""
    return (ranks - 1) * float(_bytes(args[1]))


def _scatter(args: Sequence[Any], ranks: int) -> float:
    """Return the bytes sent; `args` starts with this rank's part of the result, followed by the tensors to reduce."""
    return (ranks - 1) * float(_bytes(args[0]))


def _once(args: Sequence[Any], ranks: int) -> float:
    return (ranks - 1) / ranks * _bytes(args[0])


COUNTED: dict[str, Callable[[Sequence[Any], int], float]] = {
    "allreduce_": _all_reduce,
    "allreduce_coalesced_": _all_reduce,
    "allgather_": _gather,
    "_allgather_base_": _gather,
    "allgather_into_tensor_coalesced_": _gather,
    "reduce_scatter_": _scatter,
    "_reduce_scatter_base_": _scatter,
    "reduce_scatter_tensor_coalesced_": _scatter,
    "broadcast_": _once,
    "reduce_": _once,
}
