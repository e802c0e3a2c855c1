"""What the benchmark commands share: flags from a dataclass, a progress bar, a result shown however the run ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bistil_ds import cli
from bistil_ds.benchmarking.harness.plots import Plot, as_svg
from bistil_ds.benchmarking.harness.result_file import ResultFile
from bistil_ds.benchmarking.harness.tables import Grid
from bistil_ds.errors import InputError

Arguments = TypeVar("Arguments")
PLAIN_WIDTH = 110  # of output that goes to a file
Tell = Callable[[float, str], object]


def parsed(argv: Sequence[str] | None, kind: type[Arguments], description: str) -> Arguments:
    """The flags as an instance of the dataclass `kind`."""
    ns = cli.parse(sys.argv[1:] if argv is None else argv, [kind], description.split("\n\n")[0])
    return kind(**{each.name: getattr(ns, each.name) for each in fields(kind)})  # type: ignore[arg-type]


def told(text: str, choices: Iterable[object] | None = None) -> dict[str, Any]:
    """The metadata of such a dataclass's field: its help text, and what may be given."""
    return {"help": text, **({"choices": list(choices)} if choices else {})}


def chosen_device(name: str | None) -> torch.device:
    """The device of that name; without one, a GPU where there is one.

    Raises:
        InputError: there is no such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts
        raise InputError(f"--device {name}: cannot be used ({str(error).splitlines()[0]}); give cpu or cuda") from None
    if (device := torch.device(name)).type not in ("cpu", "cuda"):  # elsewhere the clock would not wait for the end
        raise InputError(f"--device {name}: cannot be timed; give cpu or cuda")
    return device


def console() -> Console:
    """The terminal, or output to a file of a width that tables fit into."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=PLAIN_WIDTH)


@contextmanager
def shown(
    result: ResultFile,
    grids: Callable[[Mapping[str, Any]], Iterable[Grid]],
    plots: Callable[[Mapping[str, Any]], Iterable[Plot]] = lambda content: (),
) -> Iterator[Tell]:
    """A progress bar, moved by what this yields: (share done, what is being done).

    At the end, or on Ctrl-C, the rows there are become tables, pictures beside the file, and the file's last state.
    """
    terminal = console()
    columns = (
        BarColumn(20),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    try:
        with result, Progress(*columns, console=terminal) as bar:
            task = bar.add_task("", total=1.0)
            yield lambda done, what: bar.update(task, completed=done, description=what)
            bar.update(task, completed=1.0, description="")
    finally:
        for grid in grids(result.content):
            terminal.print(grid.rich())
        if result.path.is_file():
            terminal.print(f"result: {result.path}", soft_wrap=True)
            for number, plot in enumerate(plots(result.content)):
                picture = result.path.with_suffix(f".{number}.svg" if number else ".svg")
                picture.write_text(as_svg(plot), encoding="utf-8")
                terminal.print(f"picture: {picture}", soft_wrap=True)
