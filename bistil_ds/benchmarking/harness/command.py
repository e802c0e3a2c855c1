"""Read the flags of a benchmark's command, and show its progress and its result."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import torch

from bistil_ds.benchmarking.harness.benchmark import Benchmark, Tell
from bistil_ds.benchmarking.harness.plots import as_svg
from bistil_ds.benchmarking.harness.result_file import ResultFile
from bistil_ds.console import cli
from bistil_ds.console.progress import share_bar
from bistil_ds.console.terminal import say, show
from bistil_ds.errors import InputError


def parse_flags(argv: Sequence[str] | None, kinds: Sequence[type], description: str) -> list[Any]:
    """Return the flags in `argv` (None: those of the command line) as one instance of each dataclass in `kinds`."""
    ns = cli.parse(sys.argv[1:] if argv is None else argv, kinds, description)
    return [kind(**{each.name: getattr(ns, each.name) for each in fields(kind)}) for kind in kinds]


def explain(text: str, choices: Iterable[object] | None = None) -> dict[str, Any]:
    """Return the metadata of a field of a flags dataclass: its help text, and the values it may have."""
    return {"help": text, **({"choices": list(choices)} if choices else {})}


def require_at_least_1(flags: object, *names: str) -> None:
    """Raise InputError for the first of these flags that is below 1."""
    for name in names:
        if getattr(flags, name) < 1:
            raise InputError(f"--{name} {getattr(flags, name)}: expected at least 1")


def choose_device(name: str | None) -> torch.device:
    """Return the device called `name`, a GPU with its index; if that is None, a GPU if there is one, else the CPU.

    Raises:
        InputError: there is no such device, or it cannot be timed.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.empty(0, device=name).device  # of "cuda" alone, this is the current GPU with its index
    except (RuntimeError, AssertionError) as error:  # a torch built without CUDA raises AssertionError
        raise InputError(f"--device {name}: cannot be used ({str(error).splitlines()[0]}); give cpu or cuda") from None
    if device.type not in ("cpu", "cuda"):  # `time_call` can wait for these only
        raise InputError(f"--device {name}: cannot be timed; give cpu or cuda")
    return device


@contextmanager
def show_result(result: ResultFile, benchmark: Benchmark, bar: bool = True) -> Iterator[Tell]:
    """Show a progress bar, and yield the callback (a `Tell`) that moves it.

    When the run ends, even by an error or Ctrl-C, close the record and print its rows as tables. If the record was
    saved, write its pictures and other files beside it.
    """
    try:
        with result, share_bar(show=bar) as tell:
            yield tell
    finally:
        for grid in benchmark.tables(result.content) if result.content["rows"] else ():
            show(grid)
        if result.path.is_file():
            say(f"result: {result.path}")
            for number, plot in enumerate(benchmark.plots(result.content)):
                picture = result.path.with_suffix(f".{number}.svg" if number else ".svg")
                picture.write_text(as_svg(plot), encoding="utf-8")
                say(f"picture: {picture}")
            for path in benchmark.files(result.path, result.content):
                say(f"beside it: {path}")
