"""Test the arithmetic of a dry run against known numbers: those of the ZeRO paper, and those of a small training."""

from __future__ import annotations

import pytest

from bistil_ds.training.estimate.arithmetic import (
    Checkpoints,
    Layout,
    Saving,
    Time,
    checkpoint_bytes,
    teacher_memory,
    training_memory,
)
from bistil_ds.training.estimate.first_steps import Trained
from bistil_ds.training.estimate.table import Rehearsal, Training, size_text, table, time_text

GB = 1e9


@pytest.mark.parametrize(("stage", "expected"), [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_a_model_of_7_5_billion_parameters_takes_what_figure_1_of_the_zero_paper_says(
    stage: int, expected: float
) -> None:
    memory = training_memory(7_500_000_000, 7_500_000_000, Layout(ranks=64, itemsize=2, stage=stage))
    assert memory.total / GB == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("stage", "ranks", "expected"),
    # table 1 of the same paper: GB a rank of 7.5 and of 128 billion parameters
    [(1, 4, (52.5, 896)), (2, 16, (21.6, 368)), (3, 4, (30, 512)), (3, 1024, (0.12, 2))],
)
def test_other_ranks_take_what_table_1_says(stage: int, ranks: int, expected: tuple[float, float]) -> None:
    layout = Layout(ranks, itemsize=2, stage=stage)
    found = [training_memory(count, count, layout).total / GB for count in (7_500_000_000, 128_000_000_000)]
    assert found == pytest.approx(expected, rel=0.03)


def test_frozen_parameters_have_weights_only() -> None:
    memory = training_memory(1000, 100, Layout(ranks=1, itemsize=4))
    assert (memory.weights, memory.gradients, memory.optimizer) == (4000, 400, 800)


def test_from_stage_1_on_deepspeed_keeps_a_copy_beside_fp32_weights_too() -> None:
    states = [training_memory(100, 100, Layout(2, 4, stage)).optimizer for stage in (None, 0, 1, 2, 3)]
    assert states == [800, 800, 600, 600, 600]


def test_the_state_of_another_optimizer_is_left_out() -> None:
    memory = training_memory(100, 100, Layout(1, 4, adam=False))
    assert memory.optimizer is None
    assert memory.total == 800


def test_only_zero_3_divides_the_teacher() -> None:
    assert [teacher_memory(100, 2, Layout(4, 4, stage)) for stage in (None, 2, 3)] == [200, 200, 50]


def test_a_checkpoint_holds_the_model_and_what_deepspeed_adds() -> None:
    def size(stage: int | None, sparse: bool = False) -> int:
        return checkpoint_bytes(5000, 1000, 600, Layout(2, 4, stage), sparse=sparse)

    assert size(None) == 5000 + 600 * 8
    assert size(2) == 5000 + 600 * 12 + 1000 * 4
    assert size(3) == 5000 + 600 * 12 + 400 * 4
    assert size(2, sparse=True) == 5000 + 600 * 12 + 600 * 4


def test_the_best_checkpoint_stays_beside_the_newest() -> None:
    assert Saving("steps", 2, True).of(1000, 50, 1) == Checkpoints(20, 3)
    assert Saving("steps", 1, True).of(1000, 50, 1) == Checkpoints(20, 2)
    assert Saving("steps", 1, False).of(1000, 50, 1) == Checkpoints(20, 1)
    assert Saving("steps", None, True).of(1001, 50, 1) == Checkpoints(21, 21)
    assert Saving("epoch", 5, True).of(1000, 50, 3) == Checkpoints(3, 3)
    assert Saving("no", 2, False).of(1000, 50, 3) == Checkpoints(0, 0)
    assert Checkpoints(20, 2).at_once == 3
    assert Checkpoints(2, 2).at_once == 2


def test_the_time_of_all_steps_has_the_spread_of_the_timed_ones() -> None:
    took = Time(100, (2.0, 1.0, 1.5))
    assert (took.fastest, took.middle, took.slowest) == (100, 150, 200)


def test_sizes_and_times_are_said_in_fitting_units() -> None:
    assert [size_text(size) for size in (12, 999_900, 23_440, 1.2e9, 5e15)] == [
        *("12 B", "1 MB", "23.4 kB", "1.2 GB", "5,000.0 TB")
    ]
    times = [time_text(seconds) for seconds in (0.1234, 720, 24_600, 273_600)]
    assert times == ["0.123 s", "12 min", "6 h 50 min", "3 d 4 h"]


@pytest.mark.parametrize(("iterations", "shown"), [(1, []), (3, [["  iterations", "3", "counted"]])])
def test_iterations_are_called_as_their_flag_is(iterations: int, shown: list[list[str]]) -> None:
    first = Trained(100, 10, Layout(1, 4), 0, 0, 0, 8, 50, 1, 5, (0.1,), None, 0)
    training = Training("full stage", first, 1000, Checkpoints(2, 1), iterations)
    grid = table(Rehearsal([], [], [training], 0, 0, False), preparation=1.0, free=10**9)
    assert [row for row in grid.rows if "iterations" in row[0]] == shown
    assert training.time.steps == 50 * iterations
