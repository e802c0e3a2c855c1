"""Write and read the record of a benchmark: what was measured, on what, with which arguments, and every raw sample.

The file is complete after every `save`, so an interrupted run keeps what it had saved.
"""

from __future__ import annotations

import json
import platform
import re
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

import bistil_ds
from bistil_ds.benchmarking.harness.machine_state import machine_state, thread_counts
from bistil_ds.benchmarking.harness.old_records import renew
from bistil_ds.errors import InputError
from bistil_ds.runs.files import read_json, write_whole
from bistil_ds.runs.record import git_state, hardware, versions

REPOSITORY = Path(__file__).parents[3]
# `benchmarks/results` in the clone of the repository, or else below the current folder
RESULTS = (REPOSITORY if (REPOSITORY / "benchmarks").is_dir() else Path()) / "benchmarks" / "results"
# errors that are raised if values of a record are missing or have a wrong type; InputError is a ValueError too
DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
DIGITS = 6  # significant digits of a float in the record; no measurement is more exact
NUMBERS = re.compile(r"\[\s+([-+.\deE,\s]+?)\s+\]")  # a list of numbers on several lines; `save` puts it on one


class ResultFile:
    """The record `<benchmark>[-quick]-<device>-<machine>-<time>.json`.

    Use it in a `with` block. At the end of the block, the record notes whether an exception ended the run. It is then
    saved if it has rows or there was no exception.

    Args:
        folder: where the record goes; it is made when missing.
        benchmark: the benchmark's name, such as "latency".
        device: the device that is measured.
        arguments: every argument of the command; `output_dir` is not recorded.
        seeds: name → seed.

    Raises:
        InputError: the folder cannot be made or written to; raised before anything is measured.

    Attributes:
        content: everything in the file. A benchmark fills `content["rows"]`, one mapping for each measurement, and may
            add other keys.
        lock: held while the file is written; by default it holds off nobody.
    """

    def __init__(
        self,
        folder: Path,
        benchmark: str,
        device: torch.device,
        arguments: Mapping[str, Any],
        seeds: Mapping[str, int] | None = None,
    ) -> None:
        _check_writable(folder)
        now = datetime.now(UTC)
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
        kind = re.sub(r"[^\w.-]", "_", name)  # part of a file's name
        quick = "-quick" if arguments.get("quick") else ""
        self.lock: AbstractContextManager[Any] = nullcontext()
        self.path = folder / f"{benchmark}{quick}-{device.type}-{kind}-{now:%Y%m%d-%H%M%S}.json"
        self.content: dict[str, Any] = {
            "benchmark": benchmark,
            "date": now.isoformat(timespec="seconds"),
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            "arguments": {name: value for name, value in arguments.items() if name != "output_dir"},
            "seeds": dict(seeds or {}),
            "device": str(device),
            "hardware": hardware(),
            "threads": thread_counts(),
            "versions": versions(),
            "git": git_state(Path(bistil_ds.__file__).parent),
            "machine_before": machine_state(),
            "machine_after": None,
            "interrupted": False,
            "rows": [],
        }

    def save(self) -> None:
        """Write the whole record; it replaces the file of an earlier `save`.

        Raises:
            InputError: the folder cannot be written to.
        """
        text = json.dumps(_rounded(self.content), indent=1, ensure_ascii=False, default=str)
        text = NUMBERS.sub(lambda found: "[" + " ".join(found[1].split()) + "]", text)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.lock:
                write_whole(self.path, text + "\n")
        except OSError as error:
            raise _not_writable(self.path.parent, error) from None

    def __enter__(self) -> ResultFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Save the record if it has rows or the run ended without an exception; exceptions pass through."""
        self.content["machine_after"] = machine_state()
        self.content["interrupted"] = kind is not None
        if kind is None or self.content["rows"]:
            self.save()


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise _not_writable(folder, error) from None


def _not_writable(folder: Path, error: OSError) -> InputError:
    return InputError(f"--output_dir {folder}: cannot be written ({error.strerror})")


def read_result(path: Path) -> dict[str, Any]:
    """Return the content of a record, converted to today's format if it is older.

    Raises:
        InputError: the file cannot be read, or is no record of ours.
    """
    content = read_json(path, "give a result file of a benchmark")
    try:
        record = renew(content)
    except DAMAGED:
        record = None
    if record is None:
        raise InputError(f"{path}: has no `benchmark` and `rows`; give a result file of a benchmark")
    return record


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value
