"""Run launch scripts as a user does, on one rank or several, and read what they leave."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from bistil_ds.distributed.startup import free_port

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"


def general(*flags: object, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run `launch_scripts/general.py` with `flags`; `more` are the keywords of `run_script`."""
    return run_script("general", *flags, **more)


def run_script(
    script: str, *flags: object, ranks: int = 1, cache: Path, timeout: float = 300, launcher: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a launch script with `flags` and return what it printed; the other keywords are those of `command`."""
    words, environment = command(*flags, ranks=ranks, cache=cache, script=script, launcher=launcher)
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout, env=environment, check=False)


def several_runs(runs: Sequence[Sequence[object]], ranks: int = 1, *, cache: Path) -> str:
    """Run `general.py` once for each list of flags, in one process for each rank; return what they wrote to stderr.

    On one rank, the runs start as if by plain `python`. The first run with DeepSpeed sets the environment variables of
    a rank, and the runs after it keep these variables.
    """
    flags = json.dumps([[str(word) for word in run] for run in runs])
    words, environment = command(ranks=ranks, cache=cache, program=[PROGRAMS / "several_runs.py", flags])
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stderr


def command(
    *flags: object,
    ranks: int = 1,
    cache: Path,
    script: str = "general",
    launcher: bool = False,
    program: Sequence[object] = (),
) -> tuple[list[str], dict[str, str]]:
    """Return the words and the environment that run a launch script, or `program` in its place, with `flags`.

    Several ranks are started by DeepSpeed's launcher if `launcher`, else by `start_ranks.py`, which is faster.
    """
    given = [str(word) for word in (*(program or [REPOSITORY / "launch_scripts" / f"{script}.py"]), *flags)]
    words = [sys.executable, *given]
    if ranks > 1 and launcher:
        start = [sys.executable, "-m", "deepspeed.launcher.runner", "--num_gpus", str(ranks)]
        words = [*start, "--master_port", str(free_port()), *given]
    elif ranks > 1:
        words = [*start_ranks(ranks), *given]
    environment = {**os.environ, "BISTIL_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)
    return words, environment


def start_ranks(ranks: int) -> list[str]:
    """Return the words that start a Python program once for each rank; the program and its flags must follow them."""
    return [sys.executable, str(PROGRAMS / "start_ranks.py"), str(ranks), str(free_port())]


def without_bars(text: str) -> list[str]:
    """Return the lines of a text but those that progress bars of more than a second leave."""
    return [line for line in text.splitlines() if not re.search(r"\d+% .*\[\d\d:\d\d<", line)]


def started(words: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command whose output goes to a file."""
    with log.open("wb") as file:
        return subprocess.Popen(words, env=environment, stdout=file, stderr=file, start_new_session=True)


def wait_for(path: Path, process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    """Wait until a run has written a file."""
    until = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < until
        time.sleep(0.02)


def ranks_of(launcher: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return the processes of the ranks that a launcher started."""
    return [
        child
        for child in psutil.Process(launcher.pid).children(recursive=True)
        if "launcher" not in " ".join(child.cmdline()) and "general.py" in " ".join(child.cmdline())
    ]


def history(folder: Path, key: str) -> list[float]:
    """Return every logged value of `key`, in step order, from the run's last checkpoint."""
    newest = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    state: dict[str, Any] = json.loads((newest / "trainer_state.json").read_text())
    return [row[key] for row in state["log_history"] if key in row]


def python_path() -> str:
    """Return `PYTHONPATH` for a program of `PROGRAMS`, which imports the helpers beside this file."""
    return os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
