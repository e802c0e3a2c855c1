"""Limit the memory of this process, and sample how much of it is in use.

Resident memory would not do: it counts the pages of memory-mapped files that the system keeps because it has room for
them. Counted here is anonymous memory, which only this process can free. The limit is RLIMIT_DATA, which also counts
what was reserved, so it is the stricter of the two.
"""

from __future__ import annotations

import resource
import threading
from pathlib import Path
from types import TracebackType

STATUS = Path("/proc/self/status")
SECONDS = 0.02  # between two samples


def limit_memory(size: int) -> None:
    """Let allocations of anonymous memory beyond `size` bytes fail in this process."""
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def anonymous_memory() -> int:
    """Return the bytes of anonymous memory that are resident in this process."""
    for line in STATUS.read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS} has no RssAnon")


class PeakMemory:
    """Context that samples anonymous memory in a thread; `bytes` is the most that was found."""

    def __enter__(self) -> PeakMemory:
        self.bytes = anonymous_memory()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(SECONDS):
            self.bytes = max(self.bytes, anonymous_memory())
