"""Run phase 1 as a user does, on one rank or several, and read what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bistil_ds.distributed.startup import free_port

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"


def general(*flags: object, ranks: int = 1, cache: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run `launch_scripts/general.py` with `flags`, by plain python or, for `ranks` > 1, by the deepspeed launcher."""
    return run_script("general", *flags, ranks=ranks, cache=cache, timeout=timeout)


def run_script(
    script: str, *flags: object, ranks: int = 1, cache: Path, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a launch script with `flags`, by plain python or, for `ranks` > 1, by the deepspeed launcher."""
    words, environment = command(*flags, ranks=ranks, cache=cache, script=script)
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout, env=environment, check=False)


def command(*flags: object, ranks: int = 1, cache: Path, script: str = "general") -> tuple[list[str], dict[str, str]]:
    """Return the words and the environment with which a script is run."""
    given = [str(REPOSITORY / "launch_scripts" / f"{script}.py"), *map(str, flags)]
    words = [sys.executable, *given]
    if ranks > 1:
        launcher = [sys.executable, "-m", "deepspeed.launcher.runner", "--num_gpus", str(ranks)]
        words = [*launcher, "--master_port", str(free_port()), *given]
    environment = {**os.environ, "BISTIL_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)
    return words, environment


def history(folder: Path, key: str) -> list[float]:
    """Return every logged value of `key`, in step order, from the run's last checkpoint."""
    newest = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    state: dict[str, Any] = json.loads((newest / "trainer_state.json").read_text())
    return [row[key] for row in state["log_history"] if key in row]


def python_path() -> str:
    """Return `PYTHONPATH` for a program of `PROGRAMS`, which imports the helpers beside this file."""
    return os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
