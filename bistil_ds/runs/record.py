"""Write `run.json`, the record of a run: its arguments and data, its software and hardware, and its results.

The file is kept up to date while the run goes on.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from bistil_ds.errors import InputError
from bistil_ds.runs.files import read_json, write_whole

RECORD_FILE = "run.json"
OBJECTS = ("arguments", "data", "results")  # parts of the record, JSON objects, that a resumed run reads
ADVICE = "the run cannot be resumed"
PACKAGES = (
    "bistil-ds",
    "torch",
    "transformers",
    "deepspeed",
    "accelerate",
    "datasets",
    "tokenizers",
    "safetensors",
    "sentencepiece",
    "seqeval",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "triton",
    "numpy",
    "zeus",
    "nvidia-ml-py",
)


def read_start(folder: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the recorded arguments and data of the run in `folder`, which is to be resumed.

    Raises:
        InputError: the run's record is missing or damaged.
    """
    record = RunRecord.open(folder).content
    return record["arguments"], record["data"]


class RunRecord:
    """The record of a run. The constructor, `update` and `finish` each write the whole file anew, in one step.

    Construct it on one rank only.

    Args:
        folder: the run folder; created if missing.
        arguments: name → value; values that JSON does not know are written as `str` shows them.
        seeds: name → seed.
        data: name → values that identify the data (path, SHA-256 …).
        results: results that are known at the start.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        arguments: Mapping[str, Any],
        seeds: Mapping[str, int] | None = None,
        data: Mapping[str, Any] | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(folder) / RECORD_FILE
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.content: dict[str, Any] = {
            "command": sys.argv,
            "arguments": dict(arguments),
            "seeds": dict(seeds or {}),
            "data": dict(data or {}),
            "versions": versions(),
            "git": git_state(Path(__file__).parent),
            "hardware": hardware(),
            "started": _now(),
            "finished": None,
            "results": dict(results or {}),
        }
        self._write()

    @classmethod
    def open(cls, folder: str | Path) -> RunRecord:
        """Open the record in a run's folder, to read it or add to it.

        Raises:
            InputError: the record is missing or damaged.
        """
        record = cls.__new__(cls)
        record.path = Path(folder) / RECORD_FILE
        record.content = read_json(record.path, ADVICE, keys=OBJECTS, finite=False)
        if odd := _odd_part(record.content):
            raise InputError(f'{record.path}: "{odd}" is not what a run records; {ADVICE}')
        return record

    def update(self, *, results: Mapping[str, Any]) -> None:
        """Add results; a result that is there already gets the new value."""
        self.content["results"].update(results)
        self._write()

    def finish(self) -> None:
        """Note the end time (UTC)."""
        self.content["finished"] = _now()
        self._write()

    def _write(self) -> None:
        content = without_tokens(self.content)
        write_whole(self.path, json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n")


def _odd_part(content: Mapping[str, Any]) -> str | None:
    """Return the name of a part that a resumed run reads but that has the wrong JSON type; None if there is none."""
    objects = {name: content[name] for name in OBJECTS}
    if isinstance(results := content["results"], dict):
        objects["build"] = results.get("build", {})
        stages = results.get("stages", [])
        if not isinstance(stages, list) or not all(isinstance(one, dict) and "stage" in one for one in stages):
            return "stages"
    if not isinstance(content.get("command", []), list):
        return "command"
    return next((name for name, value in objects.items() if not isinstance(value, dict)), None)


def without_tokens(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's content without access tokens (`--hub_token` and the like) in its arguments and its command."""
    arguments = {name: value for name, value in content["arguments"].items() if not is_token(name)}
    words, hides_next = [], False
    for word in content.get("command", ()):
        flag, equals, _ = str(word).partition("=")
        names_token = flag.startswith("--") and is_token(flag)
        words.append("..." if hides_next else f"{flag}=..." if names_token and equals else word)
        hides_next = names_token and not equals
    return {**content, "arguments": arguments, "command": words}


def is_token(flag: str) -> bool:
    """Return whether a flag holds an access token."""
    return flag.replace("-", "_").endswith("_token")


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of `PACKAGES`, which can change results; None for a missing package."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit of the source tree in `folder`, and whether tracked files differ from it.

    None means that our source is not in git, or that git cannot be run.
    """

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout.strip()

    try:
        # Our file must be tracked by git: an installed copy may lie inside somebody else's repository.
        git("ls-files", "--error-unmatch", "__init__.py")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def hardware() -> dict[str, Any]:
    """Return the processor, physical cores, threads, memory (bytes) and GPUs of this host."""

    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": [{"name": gpu.name, "memory_bytes": gpu.total_memory} for gpu in gpus],
    }


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_same_run(given: dict[str, Any], recorded: dict[str, Any], names: list[str], folder: Path) -> None:
    """Raise InputError if one of `names` has another value in `given` than in `recorded`, the run's first arguments.

    Names that `recorded` lacks are not compared.
    """
    as_recorded = json.loads(json.dumps(given, default=str))
    for name in names:
        if name in recorded and as_recorded[name] != recorded[name]:
            raise InputError(
                f"--{name} {given[name]}: the run in {folder} was started with {recorded[name]}, and a resumed run "
                "cannot change it"
            )
