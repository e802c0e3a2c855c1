"""Test the report's pages and the comparison of two results, on made-up results in the files that benchmarks write."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from markdown_it import MarkdownIt

from benchmarks.report import main
from bistil_ds.benchmarking.harness.plots import Bars, Lines, Points, as_svg, check_numbers
from bistil_ds.benchmarking.harness.result_file import ResultFile
from bistil_ds.benchmarking.latency.measure import Turns, rows_of
from bistil_ds.benchmarking.latency.plots import latency_plots
from bistil_ds.benchmarking.models.plan import AGAIN, MeasurementPlan
from bistil_ds.benchmarking.report.comparison import compare
from bistil_ds.benchmarking.report.gathering import gather, read
from bistil_ds.benchmarking.transfer.tables import quality_plots
from bistil_ds.console.grid import Grid
from bistil_ds.console.untrusted import one_line
from bistil_ds.errors import InputError

CPU = torch.device("cpu")
WHERE = {"engine": "eager", "dtype": "float32", "batch": 1, "length": 128, "threads": 1}


def latency_result(folder: Path, time: str, seed: int = 0, slower: float = 1.0, quick: bool = False) -> Path:
    """Write a latency result of mBERT and a student that takes half its time; `slower` multiplies both times."""
    draw = random.Random(seed)
    plan = MeasurementPlan(["mBERT", "mBERT k2 30k"], [], [], CPU, 1.0)
    turns = Turns({}, draw, lambda what: None, "")
    for name, base in {"mBERT": 0.1, "mBERT k2 30k": 0.05, "mBERT k2 30k" + AGAIN: 0.05}.items():
        turns.rounds[name] = [[base * slower * draw.lognormvariate(0, 0.02) for _ in range(3)] for _ in range(30)]
        turns.warm_up[name] = {"stable": True}
    result = ResultFile(folder, "latency", CPU, {"quick": quick})
    result.path = folder / f"latency{'-quick' * quick}-cpu-x86_64-{time}.json"
    result.content["machine_before"]["load_average"] = [0.0, 0.0, 0.0]
    sizes = {"parameters": 10, "embedding_parameters": 5, "encoder_parameters": 5}
    result.content["models"] = dict.fromkeys(turns.rounds, sizes)
    result.content["rows"] = rows_of(plan, WHERE, turns, {})
    result.save()
    return result.path


def evaluation(folder: Path) -> Path:
    def scores(value: float) -> dict[str, Any]:
        return {"score": {"f1": {"value": value, "low": value - 0.01, "high": value + 0.01}}}

    def model(parameters: int, speed: float, value: float) -> dict[str, Any]:
        languages = {"en": scores(value + 0.1), "tr": scores(value - 0.1)}
        facts = {"parameters": parameters, "examples_per_second": speed}
        return {**facts, "languages": languages, "macro_average": scores(value)}

    models = {"teacher": model(100, 10.0, 0.7), "k2 <b>": model(40, 20.0, 0.65), "k3": model(30, 30.0, 0.56)}
    content = {
        "task": "ner",
        "metric": "f1",
        "reference": "teacher",
        "test_sets": {"en": {}, "tr": {}},
        "models": models,
    }
    path = folder / "evaluation-ner.json"
    path.write_text(json.dumps(content))
    return path


class Page(HTMLParser):
    """Parser that collects the files a page loads and its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        found = dict(attributes)
        self.loaded += [found[name] for name in ("src", "href") if found.get(name) and not found[name].startswith("#")]
        self.tags.append(tag)


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
    speed, size = quality_plots(content)
    assert isinstance(speed, Points)
    assert isinstance(size, Points)
    assert speed.points == {"teacher": (1, 1), "k2 <b>": (2, pytest.approx(65 / 70)), "k3": (3, pytest.approx(0.8))}
    assert size.points["k2 <b>"][0] == 0.4
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
    assert page.tags.count("svg") == 3  # latency, quality against speed, quality against size
    assert "script" not in page.tags


def test_the_same_result_twice_is_inside_the_noise_and_a_tenth_slower_is_not(tmp_path: Path) -> None:
    paths = [latency_result(tmp_path, f"2026010{n}-000000", n, slower) for n, slower in ((1, 1.0), (2, 1.0), (3, 1.1))]
    one, same, slower = (json.loads(path.read_text()) for path in paths)
    assert {row[-1] for row in compare(one, same).rows} == {"inside the noise"}
    times = {
        verdict: [row for row in compare(a, b).rows if row[-1] == verdict]
        for a, b, verdict in ((one, slower, "higher"), (slower, one, "lower"))
    }
    assert [row[0] for row in times["higher"]] == [row[0] for row in times["lower"]] == ["mBERT", "mBERT k2 30k"]
    assert all(row[1].endswith(", s") for row in times["higher"])
    (relative,) = [row for row in compare(one, slower).rows if row[1].endswith("over its reference")]
    assert relative[-1] == "inside the noise"  # the machine was slower, and the student's ratio to its reference stayed
    assert "the same model twice" in compare(one, same).note


def test_one_noisy_case_does_not_hide_a_change_in_another(tmp_path: Path) -> None:
    def with_noisy_case(path: Path) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(path.read_text())
        noisy = [{**row, "length": 32} for row in content["rows"]]
        # the row of the same model under a second name, from which the noise is read
        noisy[-1]["ratio"] = {"median": 1.5, "low": 1.4, "high": 1.6}
        content["rows"] += noisy
        return content

    one, slower = (
        with_noisy_case(latency_result(tmp_path, f"2026010{n}-000000", n, slower)) for n, slower in ((1, 1.0), (2, 1.1))
    )
    verdicts = {(row[0], row[1]): row[-1] for row in compare(one, slower).rows}
    assert verdicts["mBERT", "eager float32, batch 1, length 128, 1 thread, s"] == "higher"
    assert verdicts["mBERT", "eager float32, batch 1, length 32, 1 thread, s"] == "inside the noise"


def test_another_machine_is_noted(tmp_path: Path) -> None:
    one = json.loads(latency_result(tmp_path, "20260101-000000").read_text())
    assert "versions differ" in compare(one, {**one, "versions": {}}).note
    assert "differ" not in compare(one, one).note


def test_single_values_are_not_called_noise_or_change() -> None:
    def memory(peak: int, dtype: str = "float32") -> dict[str, Any]:
        stages = {"inference": {"peak": peak}, "training": {"unavailable": "too large"}}
        machine = {"machine_before": {"load_average": [9.0]}, "hardware": {"threads": 2}}
        given = {"batch": 1, "length": 8, "dtype": dtype}
        return {"benchmark": "memory", "rows": [{"model": "a", **stages}], "arguments": given, **machine}

    ((*_, ratio, verdict),) = compare(memory(100), memory(90)).rows
    assert (ratio, verdict) == ("0.900, no interval", "of unknown noise")
    assert "first; the machine was busy" in compare(memory(100), memory(90)).note
    assert compare(memory(100), memory(100)).rows[0][-1] == "inside the noise"
    with pytest.raises(InputError, match="no model and case in common"):
        compare(memory(100), memory(50, "bfloat16"))


def test_one_value_beside_many_gives_no_interval(tmp_path: Path) -> None:
    many = json.loads(latency_result(tmp_path, "20260101-000000").read_text())
    single = json.loads(latency_result(tmp_path, "20260102-000000", slower=2).read_text())
    for row in single["rows"]:
        row["seconds"] = row["seconds"][:1]
    for first, second in ((many, single), (single, many)):
        rows = [row for row in compare(first, second).rows if row[0] == "mBERT"]
        assert all(row[-2].endswith(", no interval") and row[-1] == "of unknown noise" for row in rows)
        assert rows


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


def test_pictures_are_text_that_does_not_change_and_name_what_they_show() -> None:
    bars = Bars("B", "x", {"one": {"m1": (0.5, 0.4, 0.6)}, "two": {"m1": (0.7, 0.7, 0.7), "m2": (1.2, 1.0, 1.3)}})
    points = Points("P", "x", "y", {"m1": (1.0, 2.0), "m2": (2.0, 3.0)})
    lines = Lines("L", "x", "y", {"m1": [(32, 1.0), (128, 3.0)], "m2": [(128, 2.0), (32, 1.0)]})
    for plot in (bars, points, lines):
        picture = as_svg(plot)
        assert picture.startswith("<svg")
        assert ">m1<" in picture
        assert ">m2<" in picture
        assert picture == as_svg(plot)


EVIL = "_$\\frac{ <script>alert(1)</script> | # \x1b[31m\u202e\ud800 ]]> --> [x](http://e.example)"


@pytest.mark.parametrize(
    "plot",
    [
        Bars(EVIL, EVIL, {EVIL: {EVIL: (0.5, 0.4, 0.6)}, "b": {EVIL: (0.5, 0.4, 0.6)}}),
        Points(EVIL, EVIL, EVIL, {EVIL: (1.0, 2.0), "b": (3.0, 1.0)}),
        Lines(EVIL, EVIL, EVIL, {EVIL: [(32, 1.0), (128, 3.0)], "b": [(32, 1.0), (128, 3.0)]}),
    ],
    ids=lambda plot: type(plot).__name__,
)
def test_names_in_a_picture_are_text(plot: Any) -> None:
    picture = as_svg(plot)
    assert "script" not in Page(picture).tags
    assert picture.isprintable() or all(line.isprintable() for line in picture.split("\n"))
    root = ElementTree.fromstring(picture)
    shown = [str(each.text).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert shown.count(one_line(EVIL)) >= 3


@pytest.mark.parametrize(
    "plot",
    [
        *(Bars("t", "x", {"a": {"b": bar}}) for bar in ((1.0, 2.0, 3.0), (1e300, 1e300, 1e300), (math.nan,) * 3)),
        *(Bars("t", "x", {"a": {"b": bar}}) for bar in (("1", "1", "1"), (1.0, 1.0), (None, None, None))),
        *(Points("t", "x", "y", {"a": point}) for point in ((math.inf, 1.0), ("1", 2.0), (1.0,))),
        *(Lines("t", "x", "y", {"a": [point]}) for point in ((0, 1.0), (-1, 1.0), (1, 1e200), (1, None))),
    ],
)
def test_numbers_that_cannot_be_drawn_are_found_before(plot: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        check_numbers(plot)


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
    assert Page(page).tags.count("svg") == 2
    assert one_line(f"k3{EVIL}") in unescape(page)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    tokens = MarkdownIt().enable("table").parse(text)
    inside = {child.type for token in tokens for child in token.children or []}
    assert inside <= {"text", "text_special", "softbreak"}
    assert "html_block" not in {token.type for token in tokens}
    assert all(line.isprintable() for line in [*text.split("\n"), *page.split("\n")])


VALUES = (None, [], {}, "x", -1, 0, 1e300, 10**290)  # None: the key is missing


def spoilt(content: dict[str, Any], draw: random.Random) -> None:
    """Replace or remove one value somewhere in `content`."""
    holder: Any = content
    while True:
        places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        place = draw.choice(places)
        value = holder[place]
        if isinstance(value, dict | list) and value and draw.random() < 0.8:
            holder = value
            continue
        other = draw.choice(VALUES)
        if other is None:
            del holder[place]
        else:
            holder[place] = other
        return


def test_half_a_record_is_left_out_or_shown_and_never_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, draw = Path(__file__).parents[3] / "benchmarks" / "results", random.Random(0)
    names = ("latency", "memory", "energy", "flops", "scaling", "throughput", "transfer-ner-de", "kernel_upstream")
    fates: Counter[bool] = Counter()
    for source in [next(iter(sorted(results.glob(f"{name}-*.json")))) for name in names] * 5:
        content = json.loads(source.read_text())
        content |= {"rows": content["rows"][:9]} if "rows" in content else {}
        for _ in range(draw.choice((1, 1, 3))):
            spoilt(content, draw)
        path = tmp_path / "spoilt.json"
        path.write_text(json.dumps(content))
        found = read(path)
        fates[found is None] += 1
        assert main(["--compare", str(path), str(path)]) in (0, 2)
    assert min(fates[True], fates[False]) > 5, fates
    assert "Traceback" not in capsys.readouterr().err


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
