"""Start a program once for each rank, without the seconds that DeepSpeed's launcher needs to import DeepSpeed twice.

    python start_ranks.py RANKS PORT PROGRAM [ARGUMENTS ...]

The ranks run on this machine. When one fails, the others are killed and the exit code is that of the one that failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time


def main(ranks: int, port: str, words: list[str]) -> int:
    running = [subprocess.Popen([sys.executable, *words], env=environment(rank, ranks, port)) for rank in range(ranks)]
    while running:
        codes = [process.poll() for process in running]
        if failed := [code for code in codes if code]:
            for process in running:
                process.kill()
                process.wait()
            return max(failed[0], 1)  # a rank that a signal ended has a negative code
        running = [process for process, code in zip(running, codes) if code is None]
        time.sleep(0.05)
    return 0


def environment(rank: int, ranks: int, port: str) -> dict[str, str]:
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
    found = {**os.environ, **{name: str(value) for name, value in places.items()}}
    return {**found, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
