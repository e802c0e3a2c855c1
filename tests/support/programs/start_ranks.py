"""Start a program once for each rank of a run on this machine, as a launcher does, but import the libraries once.

    python start_ranks.py RANKS PORT PROGRAM [ARGUMENTS ...]

The ranks are forks of this process, which has imported the libraries that every rank needs. (DeepSpeed's launcher
imports them twice itself and once more in each rank.) When one rank fails, the others are killed, and the exit code is
that of the failed rank.
"""

from __future__ import annotations

import gc
import os
import runpy
import signal
import sys

from bistil_ds.commands import general, task  # noqa: F401 (imported for the ranks)
from bistil_ds.distributed import startup


def main(ranks: int, port: str, words: list[str]) -> int:
    startup.choose_accelerator()
    import deepspeed  # noqa: F401 (likewise, and after the accelerator is chosen)

    gc.freeze()  # exempts what the imports made from the collections that each training asks for
    running = {start(rank, ranks, port, words) for rank in range(ranks)}
    while running:
        ended, status = os.wait()
        running.discard(ended)
        if status:
            for process in running:
                os.kill(process, signal.SIGKILL)
            return max(os.waitstatus_to_exitcode(status), 1)  # the code is negative if a signal ended the rank
    return 0


def start(rank: int, ranks: int, port: str, words: list[str]) -> int:
    """Fork a rank and return its process id."""
    if process := os.fork():
        return process
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()}, MASTER_ADDR="127.0.0.1")
    sys.argv = words
    sys.path[0] = os.path.dirname(words[0])
    runpy.run_path(words[0], run_name="__main__")
    raise SystemExit


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
