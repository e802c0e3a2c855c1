"""Test the claims benchmark as a whole: pieces of a grid, its record, tables, verdicts, picture and page."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from stand_ins.claims_grid import SETTINGS, SYSTEMS, latency_record, pretend_commands, write_grid

from benchmarks.claims import main
from bistil_ds.benchmarking.claims import verdicts as rule
from bistil_ds.benchmarking.claims.earlier import fingerprint
from bistil_ds.benchmarking.claims.plots import claims_plots
from bistil_ds.benchmarking.claims.quality import Group, Interval, Quality
from bistil_ds.benchmarking.claims.runner import OutOfTimeError, Runner
from bistil_ds.benchmarking.claims.settings import Cell, read_settings
from bistil_ds.benchmarking.claims.tables import claims_grids
from bistil_ds.benchmarking.harness.panels import Panels, Spot, spread
from bistil_ds.benchmarking.harness.plots import as_svg
from bistil_ds.benchmarking.harness.result_file import read_result
from bistil_ds.benchmarking.report.gathering import read


def record_of(folder: Path) -> Path:
    (path,) = (folder / "out").glob("claims-cpu-*.json")
    return path


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


def test_cells_of_an_earlier_record_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = pretend_commands(monkeypatch)
    flags = write_grid(tmp_path)
    assert main(flags) == 0
    whole = read_result(record_of(tmp_path))
    half = tmp_path / "half.json"
    half.write_text(json.dumps({**whole, "rows": whole["rows"][:12]}))  # the first seed
    ran.clear()
    there = ["--output_dir", str(tmp_path / "elsewhere" / "out")]
    assert main([*flags[:-2], *there, "--records", str(half)]) == 0
    found = read_result(record_of(tmp_path / "elsewhere"))
    assert found["arguments"]["records"] == ["half.json"]
    assert [row["scores"] for row in found["rows"]] == [row["scores"] for row in whole["rows"]]
    outputs = [Path(words[words.index("--output_dir") + 1]).name for words in ran]
    assert outputs
    assert all(name in ("teacher", "teacher-head") or "-1" in name for name in outputs)  # those of the second seed

    grid = tmp_path / "grid.yaml"
    grid.write_text(grid.read_text().replace("sparse_max_steps: 8", "sparse_max_steps: 80"))
    ran.clear()
    there[1] += "-changed"
    assert main([*flags[:-2], *there, "--records", str(half)]) == 0
    said = capsys.readouterr().out
    assert "half.json: made with other settings, so not taken over: ner-de-k2-0, ner-de-untrained-0" in said
    made = {Path(words[words.index("--output_dir") + 1]).name for words in ran}
    assert {"ner-de-k2-0", "ner-de-scratch-0"} <= made
    assert not {"ner-de-teacher-0-evaluation", "pos-de-k2-0"} & made  # they do not depend on how students learn ner


def test_rows_of_another_teacher_are_not_mixed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend_commands(monkeypatch)
    flags = write_grid(tmp_path)
    assert main(flags) == 0
    whole = read_result(record_of(tmp_path))
    other = tmp_path / "other.json"
    for row in (whole["rows"][0], whole["rows"][-1]):  # of any task
        other.write_text(json.dumps({**whole, "rows": [{**row, "teacher": "another"}]}))
        assert main([*flags, "--records", str(other)]) == 2
        assert "differ in teacher" in capsys.readouterr().err
        assert read_result(record_of(tmp_path))["rows"] in ([], whole["rows"])  # never a mixture


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


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("label: student", "label: pupil, speed: rival", set()),
        ("latency: {batch: 8}", "latency: {batch: 1}", set()),
        ("max_steps: 600", "max_steps: 600, save_steps: 50", set()),
        ("resamples: 40", "resamples: 41", set(SYSTEMS)),
        ("scratch: {steps: 7}", "scratch: {steps: 8}", {"scratch"}),
        ("head: {steps: 5}", "head: {steps: 6}", {"rival"}),
        ("max_steps: 600", "max_steps: 601", {"k2", "untrained", "scratch", "rival"}),
        ("teacher: {sparse_max_steps: 9}", "teacher: {sparse_max_steps: 10}", set(SYSTEMS)),
        ("label: student", "label: student, phase_1: {attention_weight: 0}", {"k2", "untrained", "scratch"}),
    ],
)
def test_a_row_counts_until_something_changes_that_its_model_depends_on(
    tmp_path: Path, old: str, new: str, changed: set[str]
) -> None:
    settings = []
    for name, text in (("before", SETTINGS), ("after", SETTINGS.replace(old, new))):
        (tmp_path / name).write_text(text)
        settings.append(read_settings(tmp_path / name))
    before, after = ({name: fingerprint(each, Cell("ner", "de", name, 0)) for name in SYSTEMS} for each in settings)
    assert {name for name in SYSTEMS if before[name] != after[name]} == changed
    assert fingerprint(settings[0], Cell("ner", "de", "k2", 1)) != before["k2"]


@pytest.mark.parametrize("content", [{"benchmark": "latency", "rows": []}, {"benchmark": "claims", "rows": []}])
def test_a_record_without_a_grid_cannot_be_taken_over(
    content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "record.json").write_text(json.dumps(content))
    assert main([*write_grid(tmp_path / "grid"), "--records", str(tmp_path / "record.json")]) == 2
    assert "record.json: is no record of claims.py" in capsys.readouterr().err


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


def rows(**systems: dict[str, list[list[float]]]) -> list[dict[str, Any]]:
    """Return rows of systems: target → for each seed, the value and its resamples."""
    return [
        {
            "system": system,
            "task": "ner",
            "target": target,
            "seed": seed,
            "scores": {target: {"value": values[0], "resampled": values[1:]}},
        }
        for system, found in systems.items()
        for target, seeds in found.items()
        for seed, values in enumerate(seeds)
    ]


def test_quality_is_relative_to_the_teacher_of_the_same_resample_and_seed() -> None:
    teacher = {"de": [[0.5, 0.4, 0.6]], "ha": [[0.4, 0.4, 0.4]]}
    half = {target: [[value / 2 for value in seed] for seed in seeds] for target, seeds in teacher.items()}
    quality = Quality(rows(teacher=teacher, half=half), "teacher", {})
    assert quality.kept("half") == Interval(50.0, 50.0, 50.0)  # as noise that both have cancels out
    assert quality.kept("teacher") == Interval(100.0, 100.0, 100.0)
    assert quality.difference("teacher", "half") == Interval(50.0, 50.0, 50.0)
    assert quality.score("half", Group("ner", "de")) == (Interval(25.0, pytest.approx(20.25), pytest.approx(29.75)), 1)


def test_seeds_add_to_the_interval_and_only_common_ones_are_compared() -> None:
    teacher = {"de": [[0.5] * 41, [0.5] * 41, [0.5] * 41]}
    uneven = {"de": [[0.4] * 41, [0.5] * 41, [0.3] * 41]}
    first = {"de": [[0.4] * 41]}
    quality = Quality(rows(teacher=teacher, uneven=uneven, first=first), "teacher", {})
    kept = quality.kept("uneven")
    assert kept is not None
    assert kept.value == pytest.approx(80)
    assert kept.low < 70 < 90 < kept.high
    assert quality.difference("uneven", "first") == Interval(0.0, 0.0, 0.0)


def test_seeds_are_the_same_chance_in_all_targets() -> None:
    """A seed that is bad in one target is bad in the other, so that averaging does not narrow the interval."""
    teacher = {target: [[0.5] * 401] * 3 for target in ("de", "ha", "tr")}
    student = {target: [[0.4] * 401, [0.5] * 401, [0.3] * 401] for target in ("de", "ha", "tr")}
    quality = Quality(rows(teacher=teacher, student=student), "teacher", {})
    assert quality.kept("student") == quality.kept("student", [Group("ner", "de")])


def test_a_language_in_which_the_teacher_guesses_does_not_count() -> None:
    teacher = {"de": [[0.5, 0.48, 0.52]], "ha": [[0.35, 0.32, 0.38]]}
    quality = Quality(rows(teacher=teacher, student=teacher), "teacher", {"ner": 1 / 3})
    assert quality.groups_of("student") == [Group("ner", "de")]
    assert quality.too_low == [Group("ner", "ha")]


@pytest.mark.parametrize(
    ("student", "rival", "scratch", "found"),
    [
        (0.98, 0.9, 0.8, ["holds", "holds", "holds"]),
        (0.92, 0.9, 0.85, ["holds in part", "holds", "holds in part"]),
        (0.7, 0.75, 0.7, ["does not hold here", "does not hold here", "does not hold here"]),
    ],
)
def test_the_rule_of_the_verdicts(student: float, rival: float, scratch: float, found: list[str]) -> None:
    def scored(share: float) -> dict[str, list[list[float]]]:
        return {"de": [[0.5 * share * change for change in (1, 0.99, 1.01)]]}

    made = rows(teacher=scored(1), k2=scored(student), rival=scored(rival), scratch=scored(scratch))
    sizes = {"teacher": 10, "k2": 5, "rival": 5, "scratch": 5}
    for row in made:
        row |= {"label": row["system"], "parameters": sizes[row["system"]]}
    roles = {"teacher": "teacher", "student": "k2", "rivals": ["rival"], "scratch": "scratch"}
    speeds = {"of": {"k2": {"value": 2.0, "low": 1.9, "high": 2.1}}}
    content = {"rows": made, "roles": roles, "chance": {}, "speeds": speeds}
    assert [each.verdict for each in rule.verdicts(content)] == found
    partly = {**content, "roles": {**roles, "rivals": ["rival", "another"]}}
    assert rule.verdicts(partly)[1].verdict != rule.HOLDS  # one was not scored
    slow = {"of": {"k2": {"value": 1.0, "low": 0.9, "high": 1.1}}}
    assert rule.verdicts({**content, "speeds": slow})[0].verdict != rule.HOLDS
    left = {**content, "rows": [row for row in made if row["system"] == "teacher"]}
    assert [each.verdict for each in rule.verdicts(left)] == ["", "", ""]


def test_labels_beside_a_panel_do_not_overlap() -> None:
    places = spread([0.99, 0.5, 0.98, 0.51, 0.0], 0.1)
    ordered = sorted(places)
    assert all(above - below >= 0.1 - 1e-9 for below, above in pairwise(ordered))
    assert max(places) <= 1
    assert places[2] < places[0]
    assert places[1] < places[3]


def test_a_picture_of_panels_shows_names_as_they_are() -> None:
    spot = {"a $x$ <b>": Spot((1, 1, 1), (100, 99, 101)), "b": Spot((2, 1.9, 2.2), (90, 90, 91))}
    svg = as_svg(Panels("T", "x", "y", {"all": spot, "one": spot, "two": {}}))
    assert "a $x$ &lt;b&gt;" in svg
    assert svg.count(">one<") == 1
