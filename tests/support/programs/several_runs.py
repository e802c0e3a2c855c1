"""Run `general.py` several times in one process, so that a rank imports the libraries only once.

    python several_runs.py RUNS

RUNS is a JSON list; each entry holds the flags of one run. Ranks that have joined each other stay joined until the last
run has ended.
"""

from __future__ import annotations

import gc
import json
import sys

from bistil_ds.commands import general
from bistil_ds.distributed import startup


def main(runs: list[list[str]]) -> int:
    stop, startup.stop_distributed = startup.stop_distributed, lambda: None
    for flags in runs:
        gc.freeze()  # exempts what the imports made from the collections that each training asks for
        if code := general.main(flags):
            print("this run failed:", *flags, file=sys.stderr)
            return code
    stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(json.loads(sys.argv[1])))
