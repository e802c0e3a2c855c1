"""Test the report's pages, on made-up results in the files that benchmarks write."""

from __future__ import annotations

import json
import math
from html import unescape
from pathlib import Path

import pytest
from made_up_results import EVIL, Page, evaluation, latency_result
from markdown_it import MarkdownIt

from benchmarks.report import main
from bistil_ds.benchmarking.claims.evaluations import quality_plots
from bistil_ds.benchmarking.harness.plots import Lines, Points
from bistil_ds.benchmarking.latency.plots import latency_plots
from bistil_ds.benchmarking.report.gathering import gather
from bistil_ds.console.grid import Grid
from bistil_ds.console.untrusted import one_line


def test_the_pages_show_the_newest_of_each_machine_with_the_teacher_at_one(tmp_path: Path) -> None:
    latency_result(tmp_path, "20260101-000000", slower=7)
    latency_result(tmp_path, "20260102-000000")
    latency_result(tmp_path, "20260103-000000", slower=9, quick=True)
    evaluation(tmp_path)
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "older.json").write_text('{"benchmark": "latency", "rows": [{"ms": 3}]}')
    assert main(["--results", str(tmp_path)]) == 0
    text, page = ((tmp_path / f"report.{kind}").read_text() for kind in ("md", "html"))
    assert "latency-cpu-x86_64-20260102-000000.json" in text
    assert "latency-cpu-x86_64-20260101-000000.json: there is a newer one" in text
    assert "older.json: not a result" in text
    assert "latency-quick-cpu-x86_64-20260103-000000.json: a quick run" in text
    assert "other.json: not a result" in text
    assert "| mBERT | 0 | 100 | " in text
    assert text.index("## Quality") < text.index("## Latency")
    assert "70.0 (69.0 to 71.0)" in text
    assert "k2 &lt;b&gt;" in page


def test_quality_is_drawn_with_the_teacher_at_one(tmp_path: Path) -> None:
    content = json.loads(evaluation(tmp_path).read_text())
    (size,) = quality_plots(content)
    assert isinstance(size, Points)
    assert size.points == {"teacher": (1, 1), "k2 <b>": (0.4, pytest.approx(65 / 70)), "k3": (0.3, pytest.approx(0.8))}
    del content["models"]["k3"]
    assert quality_plots(content) == []  # two points do not make a plot


def test_without_a_score_to_relate_to_nothing_is_drawn(tmp_path: Path) -> None:
    content = json.loads(evaluation(tmp_path).read_text())
    content["models"]["teacher"]["macro_average"]["score"]["f1"]["value"] = 0.0
    assert quality_plots(content) == []


def test_results_of_other_flags_stand_side_by_side(tmp_path: Path) -> None:
    for time, grid, seed in (
        ("20260101-000000", "small", 0),
        ("20260102-000000", "full", 0),
        ("20260103-000000", "small", 1),
    ):
        path = latency_result(tmp_path, time)
        content = json.loads(path.read_text())
        content["arguments"] |= {"grid": grid, "seed": seed}
        path.write_text(json.dumps(content))
    shown, left_out = gather(tmp_path)
    assert [each.path.stem[-15:] for each in shown] == ["20260102-000000", "20260103-000000"]
    assert left_out == ["latency-cpu-x86_64-20260101-000000.json: there is a newer one"]


def test_latency_by_length_is_drawn_with_the_reference_at_one(tmp_path: Path) -> None:
    content = json.loads(latency_result(tmp_path, "20260102-000000").read_text())
    content["rows"] += [{**row, "length": 512} for row in content["rows"]]
    bars, lines = latency_plots(content)
    assert isinstance(lines, Lines)
    assert lines.lines["mBERT"] == [(128, 1), (512, 1)]
    assert [y for _, y in lines.lines["mBERT k2 30k"]] == pytest.approx([0.5, 0.5], rel=0.02)
    assert bars.title.endswith("batch 1, length 128, 1 thread")


def test_the_html_page_needs_no_other_file(tmp_path: Path) -> None:
    latency_result(tmp_path, "20260102-000000")
    evaluation(tmp_path)
    assert main(["--results", str(tmp_path), "--output_dir", str(tmp_path / "out")]) == 0
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert page.loaded == []
    assert page.tags.count("svg") == 2  # latency, quality against size
    assert "script" not in page.tags


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--compare", "{one}"], "expected two"),
        (["--compare", "{one}", "{folder}/absent.json"], "absent.json"),
        (["--results", "{folder}/absent"], "no such folder"),
        (["--results", "{folder}/empty"], "no result to show"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    flags: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    one = latency_result(tmp_path, "20260101-000000")
    assert main([flag.format(one=one, folder=tmp_path) for flag in flags]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1


def test_files_are_taken_by_the_time_in_their_name(tmp_path: Path) -> None:
    newer = latency_result(tmp_path, "20260102-000000")
    latency_result(tmp_path, "20260101-000000")  # this one is written later but was measured earlier
    ((found,), _) = gather(tmp_path)
    assert found.path == newer


def test_a_table_is_the_same_in_every_form() -> None:
    grid = Grid("T", ["model", "ms"], [["a|b <i>", "1"]], "note")
    assert "| a\\|b \\<i> | 1 |" in grid.markdown()
    assert "<td>a|b &lt;i&gt;</td><td>1</td>" in grid.html()
    assert grid.rich().row_count == 1


def test_names_on_the_pages_are_text(tmp_path: Path) -> None:
    path = evaluation(tmp_path)
    content = json.loads(path.read_text())
    content["models"] = {f"{name}{EVIL}": found for name, found in content["models"].items()}
    content |= {"task": EVIL, "reference": f"teacher{EVIL}", "test_sets": {"en": {}, "tr": {}, EVIL: {}}}
    content["run"] = {"versions": {"torch": EVIL}, "git": {"commit": EVIL, "dirty": False}, "hardware": {"cpu": EVIL}}
    path.write_text(json.dumps(content))
    (tmp_path / f"{EVIL[:9]}<b>.json").write_text("{}")
    assert main(["--results", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not {"script", "b", "a"} & set(Page(page).tags)
    assert Page(page).tags.count("svg") == 1
    assert one_line(f"k3{EVIL}") in unescape(page)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    tokens = MarkdownIt().enable("table").parse(text)
    inside = {child.type for token in tokens for child in token.children or []}
    assert inside <= {"text", "text_special", "softbreak"}
    assert "html_block" not in {token.type for token in tokens}
    assert all(line.isprintable() for line in [*text.split("\n"), *page.split("\n")])


def test_half_an_evaluation_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latency_result(tmp_path, "20260101-000000")
    whole = json.loads(evaluation(tmp_path).read_text())
    for key in ("models", "test_sets", "metric", "task"):
        (tmp_path / f"without-{key}.json").write_text(json.dumps({k: v for k, v in whole.items() if k != key}))
    for key in ("models", "test_sets"):
        (tmp_path / f"spoilt-{key}.json").write_text(json.dumps({**whole, key: 1e300}))
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "infinite.json").write_text(json.dumps({**whole, "task": math.inf}))
    assert main(["--results", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.count("left out") == 8
    assert "shown: evaluation-ner.json" in said
