"""Test the claims benchmark as a whole: pieces of a grid, its record, tables, verdicts, picture and page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from stand_ins.claims_grid import latency_record, pretend_commands, record_of, write_grid

from benchmarks.claims import main
from bistil_ds.benchmarking.claims import verdicts as rule
from bistil_ds.benchmarking.claims.plots import claims_plots
from bistil_ds.benchmarking.claims.runner import OutOfTimeError, Runner
from bistil_ds.benchmarking.claims.tables import claims_grids
from bistil_ds.benchmarking.harness.panels import Panels
from bistil_ds.benchmarking.harness.result_file import read_result
from bistil_ds.benchmarking.report.gathering import read


def test_a_grid_is_made_in_pieces_which_share_one_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = pretend_commands(monkeypatch)
    flags = write_grid(tmp_path)
    assert main([*flags, "--minutes", "1e-9"]) == 0
    assert "stopped after 0 of 24 cells, at ner-de-teacher-0; go on with the same command" in capsys.readouterr().out
    assert ran == []
    latency = latency_record(tmp_path, en_de_k2_0=0.5, rival_0=0.5, en_de_teacher_ner_0=1.0)
    assert main([*flags, "--latency", str(latency)]) == 0
    content = read_result(record_of(tmp_path))
    assert len(content["rows"]) == 24
    assert (content["left"], content["failed"]) == (0, [])
    before = len(ran)
    assert main([*flags, "--latency", str(latency)]) == 0
    assert len(ran) == before  # nothing was run again, and there still is one record
    assert len(read_result(record_of(tmp_path))["rows"]) == 24
    assert str(tmp_path) not in record_of(tmp_path).read_text()  # it names no folder of the machine
    assert read(record_of(tmp_path)) is not None  # the report shows it


def test_cells_of_other_processes_come_later_and_in_the_order_of_the_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = pretend_commands(monkeypatch)
    flags = write_grid(tmp_path)
    locks = tmp_path / "out" / ".locks"
    locks.mkdir(parents=True)
    theirs = FileLock(locks / "teacher-ner-0")
    theirs.acquire()
    waits: list[float | None] = []

    def wait(runner: Runner) -> None:
        waits.append(runner.stop)
        if len(waits) == 2:
            theirs.release()
        elif runner.stop is not None:
            raise OutOfTimeError

    monkeypatch.setattr(Runner, "wait_for_others", wait)
    assert main([*flags, "--minutes", "5"]) == 0
    assert "stopped after 19 of 24 cells, at ner-de-teacher-0" in capsys.readouterr().out
    assert main(flags) == 0
    rows = read_result(record_of(tmp_path))["rows"]
    assert [(row["task"], row["seed"]) for row in rows[::6]] == [("ner", 0), ("pos", 0), ("ner", 1), ("pos", 1)]
    assert len(rows) == 24
    outputs = [words[words.index("--output_dir") + 1] for words in ran]
    assert len(outputs) == len(set(outputs))


def test_a_process_that_stops_early_keeps_what_another_one_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = pretend_commands(monkeypatch)
    flags = write_grid(tmp_path)
    assert main(flags) == 0
    (tmp_path / "out" / "teacher-ner-0" / "run.json").unlink()
    before = len(ran)
    assert main([*flags, "--minutes", "1e-9"]) == 0
    content = read_result(record_of(tmp_path))
    assert len(ran) == before
    assert (len(content["rows"]), content["left"]) == (19, 5)  # all but those that need this teacher


def test_the_record_becomes_verdicts_tables_a_picture_and_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_commands(monkeypatch)
    flags = write_grid(tmp_path)
    latency = latency_record(tmp_path, en_de_k2_0=0.5, rival_0=0.5, en_de_teacher_ner_0=1.0)
    assert main([*flags, "--latency", str(latency)]) == 0
    content = read_result(record_of(tmp_path))
    verdict, overview, pairs, ner, pos, costs = claims_grids(content)
    assert [row[1] for row in verdict.rows] == ["holds", "holds", "holds"]
    assert "over examples and seeds" in verdict.note
    first = {**content, "rows": [row for row in content["rows"] if row["seed"] == 0]}
    assert "over examples alone" in claims_grids(first)[0].note
    assert "40 % of the parameters; 2.00 times as fast (1.82 to 2.22)" in verdict.rows[0][2]
    rows = {row[0]: row[1:] for row in overview.rows}
    assert rows["student"][1] == rows["no phase 1"][1] == rows["from scratch"][1] == "2.00 (1.82 to 2.22)"
    assert rows["student"][2].startswith("97.5 (")
    assert rows["student"][3:5] == ["2 of 2", "2"]
    assert rows["from scratch"][5].startswith("47.5 (")  # the student's lead over it
    assert "*" in pairs.rows[1][3]
    assert (ner.title, pos.title) == ("Scores, ner (f1)", "Scores, pos (f1)")
    assert costs.rows[2][1:3] == ["5", "4"]
    assert costs.rows[2][4:6] == ["3", "2"]  # both stages of phase 2
    page = record_of(tmp_path).with_suffix(".md").read_text()
    assert "(a) student keeps its teacher's zero-shot quality with minimal loss" in page
    assert f"]({record_of(tmp_path).stem}.svg)" in page
    (plot,) = claims_plots(content)
    assert isinstance(plot, Panels)
    assert list(plot.panels) == ["average of ner de, pos de", "ner: de", "pos: de"]
    assert set(plot.names()) == {"teacher", "trimmed teacher", "student", "no phase 1", "from scratch", "rival"}
    assert plot.panels["ner: de"]["student"].x == (2.0, pytest.approx(1 / 0.55, 1e-5), pytest.approx(1 / 0.45, 1e-5))
    svg = record_of(tmp_path).with_suffix(".svg").read_text()
    assert svg.count(">student<") == 1  # named in the panel that leads
    assert "holds" in capsys.readouterr().out


def test_without_latency_nothing_is_said_of_speed_and_the_command_that_measures_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_commands(monkeypatch)
    assert main(write_grid(tmp_path)) == 0
    content = read_result(record_of(tmp_path))
    assert claims_plots(content) == []
    found = rule.verdicts(content)[0]
    assert found.verdict == rule.IN_PART
    assert "speed not measured" in found.sentence
    out = tmp_path / "out"
    models = f"{out}/teacher {out}/en-de-teacher-ner-0 {out}/en-de-k2-0 {out}/rival-0"
    assert f"python benchmarks/latency.py --model {models}" in capsys.readouterr().out


def test_a_step_that_fails_leaves_out_its_cells_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_commands(monkeypatch, fails=str(tmp_path / "out" / "en-de-scratch-1"))
    assert main(write_grid(tmp_path)) == 1
    content = read_result(record_of(tmp_path))
    assert len(content["rows"]) == 22
    assert content["failed"] == ["en-de-scratch-1: exit code 7"]
    assert "failed: en-de-scratch-1: exit code 7" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--minutes", "0"], "--minutes 0.0: expected a number above 0"),
        (["--latency", "other.json"], "other.json"),
        (["--config", "none.yaml"], "--config none.yaml: cannot be read"),
        (["--teacher", ""], "--teacher and --data_dir go together"),
        (["--data_dir", "nowhere"], "--data_dir nowhere: has no text/en.txt"),
    ],
)
def test_flags_that_cannot_be_used_are_one_line(
    more: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*write_grid(tmp_path), *more]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"benchmark": "memory"}, "is a record of memory"),
        ({"rows": []}, "has no model 'teacher'"),
        ({"threads": 1}, "several cases fit"),
        ({"reference": "rival-0"}, "is compared with rival-0, not with teacher"),
    ],
)
def test_a_latency_record_that_does_not_fit_is_refused(
    change: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = latency_record(tmp_path, en_de_k2_0=0.5)
    content = json.loads(path.read_text())
    for name, value in change.items():
        (content["rows"][-1] if name in ("threads", "reference") else content)[name] = value
    path.write_text(json.dumps(content))
    assert main([*write_grid(tmp_path / "grid"), "--latency", str(path)]) == 2
    assert said in capsys.readouterr().err


def test_evaluations_on_other_examples_are_no_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_commands(monkeypatch)
    flags = write_grid(tmp_path)
    assert main(flags) == 0
    path = tmp_path / "out" / "ner-de-k2-1-evaluation" / "evaluation.json"
    content = json.loads(path.read_text())
    content["test_sets"]["de"]["sha256"] = "1"
    path.write_text(json.dumps(content))
    assert main(flags) == 2
    assert "ner-de-teacher-0 and ner-de-k2-1: differ in test_sets" in capsys.readouterr().err
