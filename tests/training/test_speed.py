"""Test that rates cover the training between log lines, and that FLOPs are those of the matrix products."""

from __future__ import annotations

import time

import pytest
import tiny
import torch
from student_models import tiny_config
from torch.utils.flop_counter import FlopCounterMode

from bistil_ds.training import energy, speed
from bistil_ds.training.speed import SpeedMeter, encoder_flops, matmul_rate, training_flops

CPU = torch.device("cpu")


class Counter:
    """An energy counter that gains five joules at every reading."""

    value = 0.0

    def joules(self) -> float:
        self.value += 5.0
        return self.value


def meter(counter: Counter | None = None) -> SpeedMeter:
    return SpeedMeter(1000.0, CPU, torch.float32, counter)  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [16, 64])
def test_encoder_flops_are_what_torch_counts(length: int) -> None:
    model = tiny.xlmr(50, layers=3)
    model.set_attn_implementation("eager")
    ids_BT = torch.randint(5, 50, (2, length))
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model.roberta(ids_BT)
    assert encoder_flops(model.config, length, 3) * 2 * length == counted.get_total_flops()


def test_scores_outside_of_a_sliding_window_are_no_work() -> None:
    """Layers 0 and 3 see all of 6 tokens, layers 1 and 2 a token on either side: 2 + 3 + 3 + 3 + 3 + 2 pairs."""
    config = tiny_config("modernbert", layers=4, local_attention=2)
    matrices = 4 * 32 * 32 + 3 * 32 * 64  # of width 32, the gated feed-forward layers of width 64
    assert encoder_flops(config, 6, 4) == 2 * (4 * matrices + 2 * 32 * (36 + 16 + 16 + 36) / 6)
    everywhere = tiny_config("modernbert", layers=4, local_attention=12)
    assert encoder_flops(everywhere, 6, 4) == 2 * (4 * matrices + 2 * 32 * 4 * 6)


def test_a_training_token_costs_a_teacher_forward_and_three_times_the_student() -> None:
    student, teacher = tiny.xlmr(50, layers=2), tiny.xlmr(50, layers=4)
    one_layer = encoder_flops(student.config, 16, 1)
    assert training_flops(student, teacher, 16) == (4 + 3 * 2) * one_layer


def test_tokens_of_all_ranks_are_counted_by_the_second() -> None:
    measured = meter()
    started = time.perf_counter()
    for _ in range(2):
        measured.add(300)
        time.sleep(0.02)
    values = measured.drain(4)
    longest = time.perf_counter() - started
    assert 600 * 4 / longest <= values["tokens_per_second"] <= 600 * 4 / 0.04
    assert values["mfu"] == pytest.approx(values["tokens_per_second"] / 4 * 1000 / measured.ceiling)
    assert 0.01 < values["memory_gib"] < 100


def test_a_drained_or_restarted_meter_starts_anew() -> None:
    measured = meter()
    measured.add(10)
    measured.drain(1)
    assert measured.drain(1) == {}
    measured.add(10**9)
    measured.restart()
    measured.add(1)
    time.sleep(0.01)
    assert measured.drain(1)["tokens_per_second"] <= 100


def test_energy_is_shared_by_the_tokens_of_the_ranks_on_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    measured = meter(Counter())
    measured.add(10)
    measured.add(10)
    assert measured.drain(4)["joules_per_token"] == 5.0 / 40
    assert "joules_per_token" not in _one_step(meter())


def test_a_counter_that_goes_round_is_read_between_log_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, watts = [0.0], 100
    counter = energy.Counter([energy.Source("package-0", lambda: int(watts * clock[0]) % 10_000, 1.0, 9_999)])
    monkeypatch.setattr(speed.time, "perf_counter", lambda: clock[0])
    measured = SpeedMeter.__new__(SpeedMeter)
    measured.flops_per_token, measured.device, measured.counter, measured.ceiling = 1.0, CPU, counter, 1.0
    measured.restart()
    for _ in range(61):  # ten minutes, in which the counter wraps six times
        measured.add(1)
        clock[0] += 10
    assert measured.drain(1)["joules_per_token"] == pytest.approx(watts * 610 / 61)


def _one_step(measured: SpeedMeter) -> dict[str, float]:
    measured.add(1)
    return measured.drain(1)


@pytest.mark.parametrize("seconds", [[0.04, 0.025, *[0.05] * 18], [2.5, 2.0]], ids=["quick", "slow"])
def test_the_ceiling_is_the_rate_of_the_quickest_product(seconds: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    ends = [moment for each in seconds for moment in (0.0, each)]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: ends.pop(0))
    assert matmul_rate(CPU, torch.float32) == pytest.approx(2 * 1024**3 / min(seconds))
    assert not ends


def test_the_ceiling_is_measured_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = iter([3.0, 4.0])
    monkeypatch.setattr(speed, "matmul_rate", lambda *given: next(rates))
    speed.ceiling_of.cache_clear()
    assert [meter().ceiling for _ in range(2)] == [3.0, 3.0]
    speed.ceiling_of.cache_clear()
