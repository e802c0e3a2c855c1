"""Measure the energy of models side by side, in rounds.

In each round every model runs alone for one window of time, and during one more window all of them wait. The order of
these windows is random.
"""

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

UPDATES = 100  # wanted changes of the slowest counter in a window; one change too many or too few is then a 1 % error
MOST_STRETCHES = 6  # a window with fewer changes grows, to at most this many times its length
IDLE = "idle"


def measure(
    plan: MeasurementPlan, meter: Meter, rounds: int, content: dict[str, Any], tell: Tell, save: Callable[[], None]
) -> None:
    """Load and warm up every model of `plan`, measure them in rounds, and save the record after each round.

    `content`, the record's content, gets a row for each model and the list of idle windows. A window lasts
    `plan.seconds`, or up to MOST_STRETCHES times as long if a counter changes seldom.
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
                running[label].call("make_engine")
                running[label].call("prepare", case)
        for round_ in range(rounds):
            for number, label in enumerate(draw.sample(list(windows), len(windows))):
                tell((round_ + number / len(windows)) / rounds, f"round {round_ + 1}: {label}")
                windows[label].append(one_window(meter, running.get(label), plan.seconds))
            content["rows"] = rows_of(plan, case, windows, meter.is_estimate)
            content["idle"] = windows[IDLE]
            save()


def one_window(meter: Meter, process: InOwnProcess | None, seconds: float) -> dict[str, Any]:
    """Let the model in `process` run, or wait if there is no process; return the record of this window.

    The record has seconds, calls of the model, joules, changes of the slowest counter (`updates`) and temperatures. The
    window lasts `seconds`. If the meter counts fewer than UPDATES changes, the window grows, to at most MOST_STRETCHES
    times `seconds`.
    """
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
    """Return the temperature of the CPU, then of each GPU, in °C; None where it cannot be read."""
    return [state["cpu_temperature"], *(gpu["temperature"] for gpu in state["gpus"] or [])]


def rows_of(
    plan: MeasurementPlan, case: InputCase, windows: Mapping[str, Sequence[Mapping[str, Any]]], is_estimate: bool
) -> list[dict[str, Any]]:
    """Return a row for each model: joules per sentence, gross and net (without idle power), and a ratio.

    The ratio divides the model's net joules by the reference's. An estimate has no net joules, so its ratio is that of
    gross joules. A ratio is left out unless the reference's joules are above 0 in every window.
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
    """Return the mean power of a window, in watts."""
    return _joules(window) / float(window["seconds"])


def sentences(window: Mapping[str, Any], case: InputCase) -> int:
    """Return how many sentences the model read in a window."""
    return int(window["calls"]) * case.batch


def _joules(window: Mapping[str, Any]) -> float:
    return float(sum(window["joules"].values()))
