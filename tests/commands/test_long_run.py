"""Test a long run in short: killed, the program killed too, and the end, log and memory of both runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from faults.long import LOGGED, Plan, checkpoints, log_faults, plan_of, planned
from faults.memory import PERIOD, blocks, growth, growth_between, growth_within
from faults.runs import write_texts_and_teacher
from launch import PROGRAMS, command, python_path
from torch.utils.tensorboard import SummaryWriter

PLAN = Plan((), ranks=2, steps=0, save_steps=50, kill_steps=75, pace=12.0, seed=1)


def test_kills_come_in_a_half_to_one_and_a_half_of_their_interval_and_end_all_ranks_or_one() -> None:
    kills = [PLAN.kill(life) for life in range(200)]
    assert min(kill.number for kill in kills) in range(37, 45)
    assert max(kill.number for kill in kills) in range(105, 113)
    assert {(kill.alone, kill.rank) for kill in kills} == {(False, 0), (True, 0), (True, 1)}
    assert all(0 <= kill.seconds <= PLAN.pace for kill in kills)
    assert PLAN.kill(3) == kills[3]


def test_a_plan_counts_the_steps_that_are_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = iter([61, 40, 120, 500])
    monkeypatch.setattr(Plan, "kill", lambda self, life: type("At", (), {"number": next(batches)}))
    # 60 steps, of which 50 are saved; 39, none saved; 119, 100 saved; then from 150 to the end
    assert plan_of(PLAN, 4).trained() == 60 + 39 + 119 + 50


def test_the_most_steps_are_planned_that_end_in_time() -> None:
    plan = planned(PLAN, 7200)
    assert plan.trained() * plan.pace <= 7200
    assert plan_of(PLAN, plan.steps // 50 + 1).trained() * plan.pace > 7200
    assert planned(PLAN, 1).steps == 100


@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        (range(5, 101, 5), None),
        ([*range(5, 41, 5), *range(50, 101, 5)], "train/loss: gaps [45], twice []"),
        ([*range(5, 51, 5), *range(50, 101, 5)], "train/loss: gaps [], twice [50]"),
        (range(10, 101, 5), "train/loss: gaps [5], twice []"),
        (range(5, 96, 5), "train/loss: gaps [100], twice []"),
    ],
)
def test_a_gap_or_a_double_in_the_log_is_found(tmp_path: Path, steps: Any, fault: str | None) -> None:
    with SummaryWriter(str(tmp_path / "runs" / "a")) as writer:
        for step in steps:
            writer.add_scalar("train/loss", 1.0, step)
        for step in (0, 50, 100):
            writer.add_scalar("eval/loss", 1.0, step)
    found = log_faults(tmp_path, plan_of(PLAN, 2))
    assert found == [] if fault is None else fault in found[0]


def rows(life: int, begin: int, mib: float, slope: float) -> list[dict[str, Any]]:
    """Return half an hour of samples of a life; its first minute, in which it loads, is far below the others."""
    values = [mib / 2 if n < 6 else mib + slope * n / 360 + n % 2 for n in range(180)]
    return [
        {"time": begin + 10 * n, "life": life, "ranks": [one], "anonymous": [one / 2], "tree": one + 3}
        for n, one in enumerate(values)
    ]


def test_growth_is_found_within_a_life_and_from_one_to_the_next() -> None:
    leaking = growth_within(rows(1, 0, 500, 36.0), warm_up=60, block=300)
    assert leaking["tree"]["mib_an_hour"] == pytest.approx(36, abs=0.5)
    assert leaking["rank 0, without files"]["mib_an_hour"] == pytest.approx(18, abs=0.25)
    assert 35 < leaking["rank 0"]["low"] <= leaking["rank 0"]["high"] < 37
    lives = [row for life in range(4) for row in rows(life, life * 1800, 500 + 10 * life, 0)]
    assert growth_between(lives, warm_up=60)["rank 0"]["mib_an_hour"] == pytest.approx(20, abs=0.1)


def test_the_interval_is_that_of_the_t_distribution_and_needs_three_points() -> None:
    assert growth([0, 3600], [1, 2]) is None
    found = growth([0, 3600, 7200, 10800], [10.0, 12.0, 11.0, 13.0])
    assert found is not None
    assert found["mib_an_hour"] == pytest.approx(0.8)
    assert found["high"] - found["mib_an_hour"] == pytest.approx(4.303 * (1.8 / 2 / 5) ** 0.5, rel=1e-3)
    assert blocks([0, 10, 20, 90, 100], [1, 2, 3, 7, 9], 60) == ([10, 95], [2, 8])


def test_checkpoints_are_found_where_they_were_logged(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path / "runs" / "a")) as writer:
        for step, second in ((0, 1000), (50, 1900), (100, 2500), (150, 3200), (200, 3700)):
            writer.add_scalar("eval/loss", 1.0, step, second)
    assert checkpoints(tmp_path, 950, 3300) == (1900, 650)
    assert checkpoints(tmp_path, 950, 2000) == (950, 1050)
    assert checkpoints(tmp_path, 950, 950) == (950, PERIOD)


@pytest.mark.slow
def test_a_killed_run_ends_as_the_one_beside_it_though_the_program_is_killed_too(tmp_path: Path) -> None:
    write_texts_and_teacher(tmp_path)
    own = ["--checkpoints", 3, "--save_minutes", 0.001, "--kill_minutes", 0.001, "--folder", tmp_path / "runs"]
    texts = [f"{language}={tmp_path / language}.txt" for language in ("aa", "bb")]
    run = ["--teacher_model", tmp_path / "mmt", "--text", *texts, "--max_length", 32, "--deepspeed", "zero2"]
    program = [PROGRAMS / "long_run.py", *own, "--output_dir", tmp_path / "out", *run]
    words, environment = command(cache=tmp_path / "cache", program=program)
    environment["PYTHONPATH"] = python_path()
    log = tmp_path / "log"
    with log.open("w") as file, subprocess.Popen(words, env=environment, stdout=file, stderr=file) as first:
        while not list((tmp_path / "runs" / "whole" / "run").glob("checkpoint-*")):
            assert first.poll() is None, log.read_text()[-3000:]
            time.sleep(0.1)
        first.send_signal(signal.SIGKILL)
    while any(str(tmp_path) in " ".join(one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"])):
        time.sleep(0.1)  # the processes that it started end themselves

    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=600)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (file,) = (tmp_path / "out").glob("long-*.json")
    record = json.loads(file.read_text())
    counts = record["counts"]
    assert record["differences"] == []
    assert (counts["steps"], counts["starts"]["whole"]) == (3 * LOGGED, 2)
    assert counts["kills"] >= 1
    assert len(record["memory"]["samples"]["killed"]["rank 1"]) >= 1
    assert os.fspath(tmp_path) not in file.read_text()
