"""Measure the energy of models side by side, in windows of steady running in random order and windows of idling."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from statistics import fmean
from typing import Any

from bistil_ds.benchmarking.energy.meter import Meter, Window
from bistil_ds.benchmarking.harness.benchmark import Tell
from bistil_ds.benchmarking.harness.machine_state import machine_state
from bistil_ds.benchmarking.harness.own_process import InOwnProcess, blame_flag
from bistil_ds.benchmarking.harness.samples import ratio
from bistil_ds.benchmarking.models.plan import AGAIN, MeasurementPlan
from bistil_ds.benchmarking.models.subject import InputCase, Subject

UPDATES = 100  # fewest movements of a window's slowest counter: one more or less is then a hundredth
MOST_STRETCHES = 6  # most stretches of `seconds` in a window whose counter moves slowly
IDLE = "idle"


def measure(
    plan: MeasurementPlan, meter: Meter, rounds: int, content: dict[str, Any], tell: Tell, save: Callable[[], None]
) -> None:
    """Add a row for each model to a record's content, saving after each round.

    Every model of `plan` is loaded and warmed up first. Each round then has a window of `plan.seconds` for each model,
    and one in which all of them wait.
    """
    (case,) = plan.cases
    draw = random.Random(plan.seed)
    windows: dict[str, list[dict[str, Any]]] = {IDLE: [], **{label: [] for label in plan.names()}}
    with ExitStack() as stack:
        running = {}
        for label, name in plan.names().items():
            tell(0.0, f"starting {label}")
            with blame_flag(f"--model {name}"):
                running[label] = stack.enter_context(InOwnProcess(Subject, name, *plan.settings[0], str(plan.device)))
                running[label].call("prepare", case)
        for round_ in range(rounds):
            for number, label in enumerate(draw.sample(list(windows), len(windows))):
                tell((round_ + number / len(windows)) / rounds, f"round {round_ + 1}: {label}")
                windows[label].append(one_window(meter, running.get(label), plan.seconds))
            content["rows"] = rows_of(plan, case, windows, meter.is_estimate)
            content["idle"] = windows[IDLE]
            save()


def one_window(meter: Meter, process: InOwnProcess | None, seconds: float) -> dict[str, Any]:
    """Measure a window of `seconds`, longer where the counter moved too seldom; without a process, idle."""
    before, calls, needed = machine_state(), 0, UPDATES if not meter.is_estimate else 0
    parts: list[Window] = []
    for _ in range(MOST_STRETCHES):
        meter.begin()
        if process is None:
            time.sleep(seconds)
        else:
            calls += process.call("run_for", seconds)
        parts.append(meter.end())
        updates = parts[-1].updates
        if updates is None or sum(part.updates or 0 for part in parts) >= needed:
            break
    joules = {name: sum(part.joules[name] for part in parts) for name in parts[0].joules}
    return {
        "seconds": sum(part.seconds for part in parts),
        "calls": calls,
        "joules": joules,
        "updates": None if updates is None else sum(part.updates or 0 for part in parts),
        "temperature_before": temperatures(before),
        "temperature_after": temperatures(machine_state()),
    }


def temperatures(state: Mapping[str, Any]) -> list[float | None]:
    """Return the temperature of the processor, then of each GPU, in °C."""
    return [state["cpu_temperature"], *(gpu["temperature"] for gpu in state["gpus"] or [])]


def rows_of(
    plan: MeasurementPlan, case: InputCase, windows: Mapping[str, Sequence[Mapping[str, Any]]], is_estimate: bool
) -> list[dict[str, Any]]:
    """Return a row for each model: joules a sentence, gross and without the idle power, and ratio to the reference.

    An estimate has gross joules only. There is no ratio where a window of the reference is not above idle.
    """
    idle = fmean(watts(window) for window in windows[IDLE])
    gross, net = [
        {
            label: [[(_joules(w) - power * w["seconds"]) / sentences(w, case)] for w in windows[label]]
            for label in plan.names()
        }
        for power in (0.0, idle)
    ]
    judged = gross if is_estimate else net
    rows = []
    for label in plan.names():
        reference = plan.reference(label)
        found: dict[str, Any] = {
            "model": label,
            "reference": reference,
            "control": label.endswith(AGAIN),
            **asdict(case),
        }
        found |= {"gross": fmean(each for (each,) in gross[label]), "idle_watts": idle, "estimate": is_estimate}
        found["net"] = None if is_estimate else fmean(each for (each,) in net[label])
        if all(each > 0 for (each,) in judged[reference]):
            found["ratio"] = asdict(ratio(judged[label], judged[reference]))
        rows.append({**found, "windows": list(windows[label])})
    return rows


def watts(window: Mapping[str, Any]) -> float:
    """Return the mean power of a window."""
    return _joules(window) / float(window["seconds"])


def sentences(window: Mapping[str, Any], case: InputCase) -> int:
    """Return how many sentences the model read in a window."""
    return int(window["calls"]) * case.batch


def _joules(window: Mapping[str, Any]) -> float:
    return float(sum(window["joules"].values()))
