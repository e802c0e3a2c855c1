"""Test how models take turns, the time budget, and what an interrupted run keeps."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bistil_ds.benchmarking.harness.own_process import RemoteError
from bistil_ds.benchmarking.harness.plots import as_svg
from bistil_ds.benchmarking.harness.result_file import ResultFile, read_result
from bistil_ds.benchmarking.latency import estimate
from bistil_ds.benchmarking.latency import measure as latency_measure
from bistil_ds.benchmarking.latency.estimate import estimate_seconds
from bistil_ds.benchmarking.latency.measure import Run, Turns, measure, rows_of, turn_size
from bistil_ds.benchmarking.latency.plots import latency_plots
from bistil_ds.benchmarking.latency.tables import latency_grids, tokens
from bistil_ds.benchmarking.models.plan import AGAIN, MeasurementPlan
from bistil_ds.benchmarking.models.rows import noise
from bistil_ds.benchmarking.models.subject import InputCase

CASE, CPU = InputCase(batch=2, length=8, threads=1), torch.device("cpu")
NAMES = ["mBERT", "mBERT k2 30k"]
RUN = Run("a", "eager", "float32")
ANSWERS: dict[str, Any] = {
    "make_engine": None,
    "describe": {
        "parameters": {"parameters": 10**7, "embedding_parameters": 1, "encoder_parameters": 1},
        "disk_bytes": 4 * 10**7,
    },
    "use_text": {"seconds": [0.001], "tokens": [12]},
    "prepare": {"calls": 6, "stable": True, "seconds": 0.05},
}


class Pretender:
    """Stand-in for a model's process that answers with made-up times from a machine that drifts."""

    asked: list[str] = []  # noqa: RUF012
    number = itertools.count()

    def __init__(self, make: object, name: str, engine: str = "eager", *rest: object) -> None:
        self.name, self.engine, self.draw = name, engine, random.Random(next(self.number))

    def call(self, method: str, *arguments: Any) -> Any:
        if method in ANSWERS:
            return ANSWERS[method]
        calls, _, round_ = arguments
        type(self).asked.append(self.name)
        base = 0.05 * (0.5 if "k2" in self.name else 1) * (0.25 if "int8" in self.engine else 1) * (1 + round_ % 3)
        return [base * self.draw.lognormvariate(0, 0.01) for _ in range(calls)]

    def __enter__(self) -> Pretender:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> MeasurementPlan:
    monkeypatch.setattr(latency_measure, "InOwnProcess", Pretender)
    monkeypatch.setattr(Pretender, "asked", [])
    return MeasurementPlan(NAMES, [("eager", "float32")], [CASE], CPU, seconds=0.2, fewest_rounds=12)


def recorded(plan: MeasurementPlan, folder: Path, tell: Any = lambda done, what: None) -> ResultFile:
    result = ResultFile(folder, "latency", CPU, {"quick": True})
    with result:
        measure(plan, result.content, tell, result.save)
    return result


def test_ratios_come_out_of_a_drifting_machine(pretended: MeasurementPlan, tmp_path: Path) -> None:
    rows = {row["model"]: row for row in recorded(pretended, tmp_path).content["rows"]}
    assert rows["mBERT k2 30k"]["ratio"]["median"] == pytest.approx(0.5, rel=0.02)
    assert rows["mBERT k2 30k"]["reference"] == "mBERT"
    assert rows["mBERT k2 30k" + AGAIN]["ratio"]["median"] == pytest.approx(1, rel=0.02)
    assert all(len(row["seconds"]) >= 12 for row in rows.values())


def test_every_round_has_every_model_once_in_an_order_that_changes(pretended: MeasurementPlan, tmp_path: Path) -> None:
    recorded(pretended, tmp_path)
    rounds = [tuple(Pretender.asked[i : i + 3]) for i in range(0, len(Pretender.asked), 3)]
    assert all(sorted(one) == sorted([*NAMES, NAMES[1]]) for one in rounds)
    assert len(set(rounds)) > 1


def test_an_interrupted_run_keeps_its_whole_rounds(pretended: MeasurementPlan, tmp_path: Path) -> None:
    def interrupt(done: float, what: str) -> None:
        if what.endswith("round 5"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recorded(pretended, tmp_path, interrupt)
    (path,) = tmp_path.glob("*.json")
    content = read_result(path)
    assert content["interrupted"] is True
    assert [len(row["seconds"]) for row in content["rows"]] == [4, 4, 4]
    assert latency_grids(content)


def test_a_run_interrupted_before_any_round_leaves_nothing(pretended: MeasurementPlan, tmp_path: Path) -> None:
    def interrupt(done: float, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recorded(pretended, tmp_path, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_rounds_end_with_the_time_but_not_before_the_fewest(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(latency_measure, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    class Slow(Pretender):
        def call(self, method: str, *arguments: Any) -> Any:
            clock[0] += 0.01
            return super().call(method, *arguments)

    def rounds(seconds: float, fewest: int) -> int:
        turns = Turns({RUN: Slow(None, "a")}, random.Random(0), lambda what: None, "")  # type: ignore[dict-item]
        turns.take(CASE, seconds, fewest)
        return len(turns.rounds[RUN])

    assert rounds(0.0, 3) == 3
    assert rounds(0.305, 3) == 29  # one call warms up, and a 30th round would exceed the time


def test_short_calls_are_repeated_within_a_turn_and_long_ones_are_not() -> None:
    assert turn_size(0.01) == (10, 1)
    assert turn_size(0.0001) == (latency_measure.MOST_CALLS, 1)
    assert turn_size(2.0) == (1, 0)


def test_what_cannot_run_here_is_in_the_table_with_its_reason(pretended: MeasurementPlan, tmp_path: Path) -> None:
    pretended.settings = [("onnx", "bfloat16"), ("eager", "float32")]
    content = recorded(pretended, tmp_path).content
    assert "bfloat16" in content["rows"][0]["unavailable"]
    grids = latency_grids(content)
    assert [grid.title.split(":")[0] for grid in grids] == [
        "eager float32, batch 2, length 8, 1 thread",
        "onnx bfloat16",
    ]


def test_tables_and_pictures_name_every_model_and_the_noise(pretended: MeasurementPlan, tmp_path: Path) -> None:
    content = recorded(pretended, tmp_path).content
    (grid,) = latency_grids(content)
    assert [row[0] for row in grid.rows] == NAMES
    assert "the same model twice, mBERT k2 30k: " in grid.note
    assert 0 < max(noise(content).values()) < 0.02
    (picture,) = [as_svg(plot) for plot in latency_plots(content)]
    assert "mBERT k2 30k" in picture
    assert "(again)" not in picture


def test_a_run_of_one_round_is_shown_without_intervals(pretended: MeasurementPlan, tmp_path: Path) -> None:
    pretended.seconds, pretended.fewest_rounds = 0.0, 1
    content = recorded(pretended, tmp_path).content
    (grid,) = latency_grids(content)
    place = grid.columns.index("mean, 95 %")
    assert all(row[place].endswith(", no interval") for row in grid.rows)
    assert [row[-1].partition(", ")[2] for row in grid.rows] == ["", "no interval"]
    assert all(as_svg(plot) for plot in latency_plots(content))


def test_text_counts_the_tokens_of_the_batches_that_were_run(pretended: MeasurementPlan, tmp_path: Path) -> None:
    row = recorded(pretended, tmp_path).content["rows"][0]
    tokenised = {"tokens": [10, 20, 30, 1000], "seconds": [1.0] * 4}
    text = {**row, "length": None, "seconds": [[1.0], [1.0], [1.0]], "tokenisation": tokenised}
    assert tokens(text) == 20
    assert tokens({**text, "seconds": [[1.0]] * 8}) == pytest.approx(1060 / 4)


def side_by_side(pretended: MeasurementPlan, folder: Path) -> dict[str, Any]:
    """Return the record of two models in two engines that take turns; an int8 call takes a quarter of the time."""
    pretended.settings, pretended.side_by_side = [("eager", "float32"), ("int8", "float32")], True
    return recorded(pretended, folder).content


def test_engines_side_by_side_take_turns_in_the_same_rounds(pretended: MeasurementPlan, tmp_path: Path) -> None:
    content = side_by_side(pretended, tmp_path)
    rounds = [Pretender.asked[i : i + 6] for i in range(0, len(Pretender.asked), 6)]
    assert all(sorted(one) == sorted(2 * [*NAMES, NAMES[1]]) for one in rounds)
    rows = {(row["model"], row["engine"]): row for row in content["rows"]}
    ratios = {key: row["ratio_to_first"]["median"] for key, row in rows.items() if not row["control"]}
    expected = {("mBERT", "eager"): 1, ("mBERT", "int8"): 1 / 4, (NAMES[1], "eager"): 1 / 2, (NAMES[1], "int8"): 1 / 8}
    assert ratios == pytest.approx(expected, rel=0.02)
    assert rows[NAMES[1], "int8"]["ratio"]["median"] == pytest.approx(0.5, rel=0.02)  # within the engine


def test_engines_side_by_side_share_a_table(pretended: MeasurementPlan, tmp_path: Path) -> None:
    content = side_by_side(pretended, tmp_path)
    (grid,) = latency_grids(content)
    assert grid.title == "Side by side, batch 2, length 8, 1 thread"
    lines = [dict(zip(grid.columns, row)) for row in grid.rows]
    assert [(line["model"], line["engine"]) for line in lines] == [(m, e) for e in ("eager", "int8") for m in NAMES]
    row = next(row for row in content["rows"] if row["model"] == NAMES[1] and row["engine"] == "int8")
    last, mean = lines[-1], row["summary"]["mean"]
    assert last["MB on disk"] == "40.0"
    assert last["sentences/s"] == f"{2 / mean:,.1f}"
    assert last["ms a sentence, 95 %"].startswith(f"{500 * mean:.3g} ±")
    assert last["time / mBERT in eager, 95 %"].startswith("0.12")
    assert last["time / same engine's, 95 %"].startswith(("0.49", "0.50"))
    assert "the same model twice, mBERT k2 30k in int8: " in grid.note


def test_each_batch_size_gets_batches_of_the_text(pretended: MeasurementPlan, tmp_path: Path) -> None:
    pretended.text, pretended.cases = ["one", "two", "three"], [InputCase(1, None, 1), InputCase(2, None, 1)]
    given = [pretended.text_batches(case) for case in pretended.cases]
    assert given == [[["one"], ["two"], ["three"]], [["one", "two"]]]
    rows = recorded(pretended, tmp_path).content["rows"]
    assert {(row["batch"], row["tokenisation"]["tokens"][0]) for row in rows} == {(1, 12), (2, 12)}


class Failing(Pretender):
    """Stand-in for a process that dies when one model reaches its second case."""

    prepared = 0

    def call(self, method: str, *arguments: Any) -> Any:
        if method == "prepare" and self.name == NAMES[1]:
            type(self).prepared += 1
            if type(self).prepared > 2:  # this model runs under two names, so each case prepares it twice
                raise RemoteError("the process ended by itself (exit code -9)")
        return super().call(method, *arguments)


def test_a_case_that_a_model_cannot_run_is_in_the_table_with_its_reason(
    pretended: MeasurementPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency_measure, "InOwnProcess", Failing)
    pretended.cases = [CASE, InputCase(64, 8, 1)]
    content = recorded(pretended, tmp_path).content
    assert len([row for row in content["rows"] if "seconds" in row]) == 3
    measured, missing = latency_grids(content)
    assert measured.title.startswith("eager float32, batch 2")
    assert missing.title == "eager float32, batch 64, length 8, 1 thread: unavailable"
    assert "exit code -9" in missing.rows[0][0]


class Refusing(Pretender):
    """Stand-in for a process that cannot make the file of one engine."""

    def call(self, method: str, *arguments: Any) -> Any:
        if method == "make_engine" and self.engine == "int8":
            raise RemoteError("no such operator")
        return super().call(method, *arguments)


def test_an_engine_that_cannot_be_made_leaves_the_others(
    pretended: MeasurementPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency_measure, "InOwnProcess", Refusing)
    measured, missing = latency_grids(side_by_side(pretended, tmp_path))
    assert [row[1] for row in measured.rows] == ["eager", "eager"]
    assert (missing.title, missing.rows) == ("int8 float32: unavailable", [["mBERT: no such operator"]])


def test_the_estimate_is_the_time_allowed_or_what_the_fewest_rounds_take(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = MeasurementPlan(NAMES, [("eager", "float32")], [InputCase(8, 128, 1)], CPU, seconds=60.0)
    monkeypatch.setattr(estimate, "matmul_rate", lambda *given: 1e15)
    assert estimate_seconds(plan) == 60
    monkeypatch.setattr(estimate, "matmul_rate", lambda *given: 1e9)
    call = 2 * 85.05e6 * 8 * 128 / 1e9  # seconds of one mBERT call; its student runs twice, each time in half of that
    assert estimate_seconds(plan) == pytest.approx((6 + 3) * 2 * call, rel=0.02)


def test_only_whole_rounds_become_rows() -> None:
    plan = MeasurementPlan(NAMES, [], [], CPU, 1.0)
    turns = Turns({}, random.Random(0), lambda what: None, "")
    seconds = {"mBERT": [[2.0], [4.0]], "mBERT k2 30k": [[1.0]], "mBERT k2 30k" + AGAIN: [[1.0], [1.0]]}
    turns.rounds = {RUN._replace(label=label): each for label, each in seconds.items()}
    turns.warm_up = {run: {"stable": True} for run in turns.rounds}
    rows = rows_of(plan, CASE, turns, {run: {"disk_bytes": 1} for run in turns.rounds}, {})
    assert [row["seconds"] for row in rows] == [[[2.0]], [[1.0]], [[1.0]]]
