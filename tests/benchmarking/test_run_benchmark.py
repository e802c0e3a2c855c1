"""Test the skeleton of the benchmark commands with a benchmark made up for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from bistil_kernels.runtime.choice import chosen

from bistil_ds.benchmarking.harness.benchmark import Benchmark, Content, Job, Tell, parts_of
from bistil_ds.benchmarking.harness.command import explain, require_at_least_1
from bistil_ds.benchmarking.harness.plots import Bars
from bistil_ds.benchmarking.harness.result_file import ResultFile, read_result
from bistil_ds.benchmarking.registry import BENCHMARKS
from bistil_ds.benchmarking.run_benchmark import command_of
from bistil_ds.console.grid import Grid


@dataclass
class Flags:
    """The flags of the made-up benchmark."""

    count: int = field(default=2, metadata=explain("Rows."))
    status: str = field(default="ok", metadata=explain("Of each row."))
    bar: bool = field(default=False, metadata=explain("Show a bar."))
    output_dir: str = field(default="", metadata=explain("Where it goes."))


def plan(flags: Flags) -> Job:
    require_at_least_1(flags, "count")

    def measure(result: ResultFile, tell: Tell) -> None:
        result.content["held"] = [chosen(), os.environ["BISTIL_KERNELS"]]
        for number in range(flags.count):
            tell(number / flags.count, f"row {number}")
            if flags.status == "interrupted" and number:
                raise KeyboardInterrupt
            result.content["rows"].append({"name": f"row [{number}]", "status": flags.status})

    return Job(torch.device("cpu"), measure, {"seed": 3}, f"{flags.count} rows are coming", flags.bar)


def write_names(path: Path, content: Content) -> list[Path]:
    path.with_suffix(".txt").write_text(" ".join(row["name"] for row in content["rows"]))
    return [path.with_suffix(".txt")]


ENTRY = Benchmark(
    name="counting",
    title="Counting",
    description="Rows are counted.",
    flags=Flags,
    plan=plan,
    tables=lambda content: [Grid("Rows", ["name"], [[row["name"]] for row in content["rows"]])],
    plots=lambda content: [Bars("One", "x", {"s": {"a": (1.0, 1.0, 1.0)}}), Bars("Two", "x")],
    files=write_names,
    failures=lambda content: [row["name"] for row in content["rows"] if row["status"] == "broken"],
)


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    monkeypatch.setitem(BENCHMARKS, "counting", ENTRY)
    return lambda *flags: command_of("counting")([*flags, "--output_dir", str(tmp_path)])


@pytest.mark.parametrize("bar", ["true", "false"])
def test_a_run_leaves_record_pictures_and_files_and_shows_them(
    main: Callable[..., int], bar: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("--bar", bar) == 0
    (path,) = tmp_path.glob("counting-cpu-*.json")
    record = read_result(path)
    assert [row["name"] for row in record["rows"]] == ["row [0]", "row [1]"]
    assert record["arguments"] == {"count": 2, "status": "ok", "bar": bar == "true"}
    assert record["kernels"] == "auto"
    assert record["seeds"] == {"seed": 3}
    assert ">One<" in path.with_suffix(".svg").read_text()
    assert ">Two<" in path.with_suffix(".1.svg").read_text()
    assert path.with_suffix(".txt").read_text() == "row [0] row [1]"
    shown = capsys.readouterr().out
    for text in ("2 rows are coming", "row [1]", str(path), str(path.with_suffix(".1.svg")), ".txt"):
        assert text in shown


def test_the_kernels_are_chosen_for_the_run_and_for_the_commands_that_it_starts(
    main: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BISTIL_KERNELS", "auto")
    assert main("--kernels", "torch") == 0
    (path,) = tmp_path.glob("counting-cpu-*.json")
    record = read_result(path)
    assert record["kernels"] == "torch"
    assert record["held"] == ["torch", "torch"]
    assert [chosen(), os.environ["BISTIL_KERNELS"]] == ["auto", "auto"]
    assert main("--kernels", "triton") == 2
    assert capsys.readouterr().err.startswith("error: --kernels triton: Triton's kernels need a GPU")
    assert list(tmp_path.glob("*.json")) == [path]


def test_bad_flags_are_one_line_and_nothing_is_written(
    main: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("--count", "0") == 2
    assert capsys.readouterr().err == "error: --count 0: expected at least 1\n"
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_failed_is_named_and_the_exit_code_is_1(
    main: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("--status", "broken") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "failed: row [1]"
    (path,) = tmp_path.glob("*.json")
    assert read_result(path)["interrupted"] is False


def test_what_was_measured_before_an_interruption_is_kept_and_shown(
    main: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("--status", "interrupted") == 130
    (path,) = tmp_path.glob("*.json")
    assert [row["name"] for row in read_result(path)["rows"]] == ["row [0]"]
    assert read_result(path)["interrupted"] is True
    assert "row [0]" in capsys.readouterr().out


def test_help_comes_from_the_entry_and_its_flags(main: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main("--help")
    shown = capsys.readouterr().out
    assert "Rows are counted." in shown
    assert "--count N" in shown


def test_a_part_is_told_of_as_its_share_of_the_whole() -> None:
    told: list[float] = []
    first, second = parts_of(lambda done, what: told.append(done), 2)
    first(0.5, "")
    second(0.0, "")
    second(1.0, "")
    assert told == [0.25, 0.5, 1.0]
