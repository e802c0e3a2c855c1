"""Stand in for the ranks of `on_ranks`: rank 1 fails, and the others wait for it, as in a collective."""

from __future__ import annotations

import time

WAIT = 60.0  # seconds


class OneFails:
    def __init__(self, rank: int, ranks: int, port: int, threads: int) -> None:
        self.rank = rank

    def run(self, function: object, arguments: object) -> None:
        if self.rank == 1:
            raise ValueError("out of memory on rank 1")
        time.sleep(WAIT)
