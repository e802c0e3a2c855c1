"""Run the report command, which makes one page of all results, or compares two.

The page has the newest record of each benchmark, machine and choice of flags. With --compare A B, a table of two
records is printed instead, and with --headline RECORD, the short table of the README, as Markdown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bistil_ds.benchmarking.harness.command import explain, parse_flags
from bistil_ds.benchmarking.harness.result_file import DAMAGED, RESULTS, read_result
from bistil_ds.benchmarking.report.comparison import compare
from bistil_ds.benchmarking.report.gathering import gather
from bistil_ds.benchmarking.report.headline import headline
from bistil_ds.benchmarking.report.page import html_page, markdown
from bistil_ds.console import cli
from bistil_ds.console.grid import Grid
from bistil_ds.console.terminal import say, show
from bistil_ds.errors import InputError

DESCRIPTION = "One page of everything that was measured: Markdown, and HTML with pictures that needs no other file."


@dataclass
class Flags:
    """Flags of the report command."""

    results: str = field(default=str(RESULTS), metadata=explain("Folder of result files (and evaluation.json files)."))
    compare: list[str] = field(default_factory=list, metadata=explain("Two result files of one benchmark."))
    headline: list[str] = field(
        default_factory=list,
        metadata=explain("A result of latency.py --side_by_side, and evaluation.json files for the scores."),
    )
    quick: bool = field(default=False, metadata=explain("Show results of quick runs too."))
    output_dir: str | None = field(
        default=None, metadata=explain("Where report.md and report.html go; the results' folder.")
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the report command and return its exit code."""
    return cli.run(lambda: run(*parse_flags(argv, [Flags], DESCRIPTION)))


def run(flags: Flags) -> None:
    """Print two records side by side or the short table, or write report.md and report.html."""
    if flags.compare:
        if len(flags.compare) != 2:
            raise InputError(f"--compare: expected two result files, found {len(flags.compare)}")
        show(_table(compare, "--compare", flags.compare))
        return
    if flags.headline:
        grid = _table(headline, "--headline", flags.headline)
        say(f"<!-- headline: {' '.join(Path(name).name for name in flags.headline)} -->")
        for line in grid.markdown().splitlines():
            say(line)
        return
    results, left_out = gather(Path(flags.results), quick=flags.quick)
    folder = Path(flags.output_dir or flags.results)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.md").write_text(markdown(results, left_out), encoding="utf-8")
        (folder / "report.html").write_text(html_page(results, left_out), encoding="utf-8")
    except OSError as error:
        raise InputError(f"--output_dir {folder}: cannot be written ({error.strerror})") from None
    for line in [*(f"shown: {result.path.name}" for result in results), *(f"left out: {line}" for line in left_out)]:
        say(line)
    say(f"pages: {folder / 'report.md'} {folder / 'report.html'}")


def _table(make: Callable[..., Grid], flag: str, files: Sequence[str]) -> Grid:
    """Return the table that `make` makes of the contents of result files; raise InputError if they are damaged."""
    contents = [read_result(Path(name)) for name in files]
    try:
        grid = make(*contents)
        grid.html()  # raises one of DAMAGED if a cell is not text
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{flag} {' '.join(files)}: a value is missing or no number ({error!r:.100})") from None
    return grid
