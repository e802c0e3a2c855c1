"""Count the bytes of all tensors that are alive: what a GPU's allocator would hold, without its own reserve.

Resident memory of a process would not do on a CPU: it also holds libraries and freed memory, and leaves out what was
never written to.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class LiveBytes(TorchDispatchMode):
    """Mode that counts the bytes of tensors made under it, as long as any tensor or view holds them.

    Attributes:
        now: bytes that are alive.
        peak: the most since it was last set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: set[int] = set()

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that were made before, once for each storage."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if tensor.device.type != "meta" and storage._cdata not in self._alive:
                self._alive.add(storage._cdata)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._drop, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)

    def _drop(self, identity: int, size: int) -> None:
        self._alive.discard(identity)
        self.now -= size

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        self.add(_tensors(found))
        return found


def _tensors(found: Any) -> Iterator[Tensor]:
    """Yield the tensors that an operator returned: one, or several in lists and tuples."""
    if isinstance(found, Tensor):
        yield found
    elif isinstance(found, list | tuple):
        for each in found:
            yield from _tensors(each)
