"""Test the ways of a training step: their results, how they take turns, and the step under ZeRO."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest
import torch
from torch import Tensor

from bistil_ds.benchmarking.harness.timing import Way, paired_ratio, time_in_turns
from bistil_ds.benchmarking.training_step.teachers import cost_in_the_loss
from bistil_ds.benchmarking.training_step.ways import WAYS, Shape, Steps, random_steps
from bistil_ds.benchmarking.training_step.zero import compare_under_zero
from bistil_ds.errors import Notice
from bistil_ds.training.graphs import replay

CPU = torch.device("cpu")
TINY = Shape(length=9, batch=2, layers=4, width=16, heads=2, vocabulary=50)


@pytest.fixture
def steps() -> Steps:
    return random_steps(TINY, CPU)


def gradients(steps: Steps, name: str) -> list[Tensor]:
    way = steps.way(name)
    way.prepare()
    way.step()
    return [p.grad for p in steps.student.base_model.parameters() if p.grad is not None]


def test_our_step_trains_like_the_published_way_done_plainly(steps: Steps) -> None:
    plain, ours = gradients(steps, "eager"), gradients(steps, "ours")
    assert len(plain) == len(ours) > 20
    largest = max(float(x.abs().max()) for x in plain)
    for a, b in zip(plain, ours):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6 * largest)


@pytest.mark.slow  # the rehearsal of the GPU run times such a step in the fast tests
def test_the_compiled_step_trains_like_ours(steps: Steps) -> None:
    ours, way = gradients(steps, "ours"), steps.compiled("eager")
    way.prepare()
    way.step()
    found = [p.grad for p in steps.student.base_model.parameters() if p.grad is not None]
    assert len(found) == len(ours)
    for a, b in zip(found, ours):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-8)


def test_the_replayed_step_has_the_gradients_of_ours_in_the_same_places(steps: Steps) -> None:
    ours, way = gradients(steps, "ours"), steps.graphed()
    (loss, *found), (again, *_) = way.step(), way.step()  # type: ignore[misc]
    assert again is loss
    for a, b in zip(found, ours, strict=True):
        torch.testing.assert_close(a, b)


def test_a_step_that_cannot_be_replayed_is_no_graph(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_agree", lambda found, expected: False)
    with pytest.warns(Notice), pytest.raises(RuntimeError, match="the first replay's loss"):
        steps.graphed()


def test_a_step_may_be_in_another_dtype() -> None:
    steps = random_steps(TINY, CPU, torch.bfloat16)
    assert {x.dtype for x in gradients(steps, "ours")} == {torch.bfloat16}
    assert steps.teacher.dtype == torch.bfloat16


def test_the_floor_runs_backward_through_the_whole_student(steps: Steps) -> None:
    assert len(gradients(steps, "floor")) == len(gradients(steps, "ours"))


def test_each_round_runs_every_way_once_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    ways = {name: Way(lambda name=name: calls.append(name)) for name in WAYS}  # type: ignore[misc]
    seconds = time_in_turns(ways, 2, CPU)
    assert calls == ["floor", "eager", "ours", "eager", "ours", "floor", "ours", "floor", "eager"]
    assert {name: len(samples) for name, samples in seconds.items()} == dict.fromkeys(WAYS, 2)


def test_ratios_are_taken_within_a_round() -> None:
    assert paired_ratio([2.0, 20.0, 1.0], [1.0, 10.0, 1.0]) == 2.0


@pytest.mark.parametrize("name", ["bfloat16", "int8"])
def test_a_cheaper_teacher_costs_a_little_and_not_nothing(steps: Steps, name: str) -> None:
    cost = cost_in_the_loss(steps.student, steps.layer_map, steps.teacher, name, steps.inputs)
    assert 0 < abs(cost.hidden) < 0.2
    assert 0 < cost.gradient_difference < 0.2
    assert cost.gradient_cosine > 0.95


def test_a_step_under_zero_is_as_slow_as_its_slowest_rank_and_counts_all_tokens() -> None:
    rows = compare_under_zero(3, 2, TINY, 2, CPU)
    assert set(rows) == set(WAYS)
    for row in rows.values():
        assert row["tokens_per_second"] == pytest.approx(2 * 2 * 9 / median(row["seconds"]))
        work = row["mfu"] / row["tokens_per_second"]  # every way does the same work on the same machine
        assert work == pytest.approx(rows["floor"]["mfu"] / rows["floor"]["tokens_per_second"])
    assert rows["floor"]["time_ratio"] == 1
    assert rows["ours"]["peak_mib"] >= rows["ours"]["baseline_mib"] > rows["ours"]["empty_mib"] > 100


@pytest.mark.slow
def test_the_quick_benchmark_writes_its_record(tmp_path: Path) -> None:
    script = Path(__file__).parents[3] / "benchmarks" / "throughput.py"
    subprocess.run([sys.executable, script, "--quick", "--output_dir", tmp_path], check=True, capture_output=True)
    (path,) = tmp_path.glob("throughput-*.json")
    record = json.loads(path.read_text())
    rows = {row["way"]: row for row in record["rows"]}
    assert set(rows) == {*WAYS, *(f"ZeRO-2, 1 rank: {way}" for way in WAYS)}
    assert rows["floor"]["memory_ratio"] == 1
    assert record["versions"]["torch"]
