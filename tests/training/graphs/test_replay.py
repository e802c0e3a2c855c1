"""Test that a function is run, then recorded, then replayed, and that it serves itself where replays cannot be had."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bistil_ds.errors import Notice
from bistil_ds.training.graphs import replay
from bistil_ds.training.graphs.replay import WARM_UP, Replayed, Twin

CPU = torch.device("cpu")


class Doubling:
    """A function that doubles one static input, and counts its runs."""

    def __init__(self) -> None:
        self.input, self.runs = torch.zeros(()), 0

    def __call__(self) -> tuple[Tensor, ...]:
        self.runs += 1
        return (2 * self.input,)


def results(function: Doubling, replayed: Replayed, numbers: range) -> list[Tensor]:
    found = []
    for number in numbers:
        function.input.fill_(number)
        (output,) = replayed()
        assert output == 2 * number
        found.append(output)
    return found


def test_replays_fill_the_same_tensors_with_each_inputs_result() -> None:
    function = Doubling()
    replayed = Replayed(function, CPU)
    first = results(function, replayed, range(WARM_UP))
    assert not replayed.is_replayed
    assert len({output.data_ptr() for output in first}) == WARM_UP, "plain runs return tensors of their own"
    later = results(function, replayed, range(7, 11))
    assert replayed.is_replayed
    assert replayed.failure is None
    assert len({output.data_ptr() for output in later}) == 1


def test_each_call_runs_a_function_with_effects_once() -> None:
    function = Doubling()
    replayed = Replayed(function, CPU, warm_up=1)
    for calls in range(1, 5):
        replayed()
        assert function.runs == calls


def test_only_the_first_replay_is_compared_with_a_plain_run() -> None:
    function = Doubling()
    replayed = Replayed(function, CPU, warm_up=1, compared=1)
    results(function, replayed, range(5))
    assert function.runs == 5 + 1


@pytest.mark.parametrize("wrong", [1.02, float("nan")])
def test_wrong_replays_are_noticed_and_not_used(wrong: float, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = Twin.replay

    def spoilt(self: Twin) -> None:
        sound(self)
        self.outputs[0].mul_(wrong)

    monkeypatch.setattr(Twin, "replay", spoilt)
    function = Doubling()
    replayed = Replayed(function, CPU, compared=1)
    results(function, replayed, range(1, WARM_UP + 1))
    with pytest.warns(Notice, match="the run goes on without: the first replay's loss"):
        results(function, replayed, range(8, 9))
    results(function, replayed, range(9, 12))
    assert not replayed.is_replayed
    assert "not that of a plain run" in str(replayed.failure)


def test_numbers_that_are_not_finite_in_both_runs_agree() -> None:
    function = Doubling()
    replayed = Replayed(function, CPU, warm_up=1, compared=1)
    replayed()
    function.input.fill_(torch.nan)
    assert replayed()[0].isnan()
    assert replayed.is_replayed


def test_what_cannot_be_recorded_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(function: object) -> None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore lines")

    monkeypatch.setattr(replay, "Twin", refuse)
    function = Doubling()
    replayed = Replayed(function, CPU)
    with pytest.warns(Notice, match="a step cannot be recorded: CUDA error: .* capturing$"):
        results(function, replayed, range(6))
    assert not replayed.is_replayed
    assert str(replayed.failure).endswith("capturing")
