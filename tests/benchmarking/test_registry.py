"""Test that scripts, registry and committed records belong together."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from bistil_ds.benchmarking.claims.tables import is_evaluation
from bistil_ds.benchmarking.gpu.command import main as gpu
from bistil_ds.benchmarking.harness.result_file import RESULTS
from bistil_ds.benchmarking.registry import BENCHMARKS, ENTRIES
from bistil_ds.benchmarking.report.gathering import gather, read
from bistil_ds.benchmarking.run_benchmark import command_of

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
NAME = re.compile(r"[a-z_]+(-\w+)*-(cpu|cuda|meta)-\w+-\d{8}(-\d{6})?$")
# scripts whose command is not made by `command_of`; the report is no benchmark, and the GPU run imports no registry
OWN_COMMANDS = ("report", "gpu")
# two run.json files of phase 1 itself, and what the demo writes
NO_BENCHMARK = re.compile(r"phase1-|demo-")


def test_every_benchmark_has_its_script_and_every_script_its_benchmark() -> None:
    assert {path.stem for path in SCRIPTS.glob("*.py")} == {*BENCHMARKS, "report"}
    assert len(BENCHMARKS) == len(ENTRIES)


@pytest.mark.parametrize("name", sorted({*BENCHMARKS, *OWN_COMMANDS}))
def test_a_script_names_its_benchmark_and_does_nothing_else(name: str) -> None:
    _, *lines = (SCRIPTS / f"{name}.py").read_text().splitlines()
    called = (
        [f"from bistil_ds.benchmarking.{name}.command import main"]
        if name in OWN_COMMANDS
        else ["from bistil_ds.benchmarking.run_benchmark import command_of", "", f'main = command_of("{name}")']
    )
    assert lines == ["", *called, "", 'if __name__ == "__main__":', "    raise SystemExit(main())"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry.name))
def test_every_benchmark_can_be_quick_and_told_where_to_write(entry: object) -> None:
    assert {"quick", "output_dir"} <= {each.name for each in fields(entry.flags)}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_help_says_what_a_benchmark_is_for(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = gpu if name == "gpu" else command_of(name)
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert BENCHMARKS[name].description in shown
    assert "--quick" in shown


def test_every_committed_record_is_shown_by_the_report_and_named_by_one_scheme() -> None:
    every = list(RESULTS.glob("*.json"))
    records = [path for path in every if not NO_BENCHMARK.match(path.stem)]
    shown, left_out = gather(RESULTS)
    assert {each.path for each in shown} == set(records)
    assert len(left_out) == len(every) - len(records)
    for path in records:
        found = read(path)
        assert found is not None
        if is_evaluation(found.content):
            assert path.name.startswith("evaluation-")
        else:
            assert NAME.match(path.stem), path.name
            assert path.name.startswith(found.benchmark)


def test_pictures_and_tables_lie_beside_their_records() -> None:
    stems = {path.stem for path in RESULTS.glob("*.json")}
    files = [path for path in RESULTS.iterdir() if path.is_file()]  # `faults/` holds records of tests
    others = [path for path in files if path.suffix != ".json" and path.name != "report.md"]
    assert all(re.sub(r"\.\d+$", "", path.stem) in stems for path in others)
