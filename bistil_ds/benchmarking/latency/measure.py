"""Measure the latency of models side by side: each in a process of its own, taking turns in random order.

If the machine slows down, all models of a round slow down alike, so ratios are taken within a round. One model runs in
two processes; the distance of their ratio from 1 is the noise of the run.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from bistil_ds.benchmarking.harness.benchmark import Tell
from bistil_ds.benchmarking.harness.budget import Budget
from bistil_ds.benchmarking.harness.own_process import InOwnProcess, RemoteError, blame_flag
from bistil_ds.benchmarking.harness.samples import ratio, summarise
from bistil_ds.benchmarking.models.engines import unavailable
from bistil_ds.benchmarking.models.plan import AGAIN, MeasurementPlan
from bistil_ds.benchmarking.models.rows import case_text
from bistil_ds.benchmarking.models.subject import InputCase, Subject

TURN_SECONDS = 0.1  # a turn lasts about this long, so that starting it weighs little
MOST_CALLS, MOST_ROUNDS = 20, 200  # most calls of a turn, most rounds of a case


def measure(plan: MeasurementPlan, content: dict[str, Any], tell: Tell, save: Callable[[], None]) -> None:
    """Measure every case of `plan`, add its rows to a record's content, and save the record after each case.

    An engine or a case that cannot run gets one row that says why.

    Args:
        tell: called with the share of the run that is done (0 to 1) and what is being done.
    """
    content["models"] = {}
    budget = Budget(plan.seconds, [weight(case) for _ in plan.settings for case in plan.cases])
    draw = random.Random(plan.seed)
    for engine, dtype in plan.settings:
        setting = {"engine": engine, "dtype": dtype}
        if reason := unavailable(engine, dtype, plan.device):
            content["rows"].append({**setting, "unavailable": reason})
            for case in plan.cases:
                budget.spend(weight(case))
            continue
        with _running(plan, engine, dtype, partial(tell, budget.done())) as running:
            content["models"] |= {label: process.call("describe") for label, process in running.items()}
            tokenised = _tokenised(plan, running)
            for case in plan.cases:
                turns = Turns(
                    running, draw, partial(tell, budget.done()), f"{engine} {dtype}, {case_text(asdict(case))}"
                )
                try:
                    turns.take(case, budget.allot(weight(case)), plan.fewest_rounds)
                except RemoteError as error:  # for example an export failed, or memory ran out
                    content["rows"].append({**setting, **asdict(case), "unavailable": str(error)})
                finally:
                    content["rows"] += rows_of(plan, {**setting, **asdict(case)}, turns, tokenised)
                budget.spend(weight(case))
                save()


def weight(case: InputCase) -> float:
    """Return a case's weight in the time budget: tokens of a batch (32 for each text) divided by threads."""
    return case.batch * (case.length or 32) / case.threads


@contextmanager
def _running(
    plan: MeasurementPlan, engine: str, dtype: str, tell: Callable[[str], object]
) -> Iterator[dict[str, InOwnProcess]]:
    with ExitStack() as stack:
        running = {}
        for label, name in plan.names().items():
            tell(f"{engine} {dtype}: starting {label}")
            with blame_flag(f"--model {name}"):
                running[label] = stack.enter_context(InOwnProcess(Subject, name, engine, dtype, str(plan.device)))
        yield running


def _tokenised(plan: MeasurementPlan, running: Mapping[str, InOwnProcess]) -> dict[str, Any]:
    if not plan.text:
        return {}
    found = {}
    for label, process in running.items():
        with blame_flag(f"--model {label}, with --text_file"):
            found[label] = process.call("use_text", plan.text, plan.max_length)
    return found


@dataclass
class Turns:
    """Rounds of one case. In a round every model has one turn, in random order.

    Attributes:
        rounds: label of a model → for each of its turns, the seconds of each call.
        warm_up: label of a model → the result of `Subject.prepare`.
    """

    running: Mapping[str, InOwnProcess]
    draw: random.Random
    tell: Callable[[str], object]
    title: str
    rounds: dict[str, list[list[float]]] = field(default_factory=dict)
    warm_up: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, case: InputCase, seconds: float, fewest: int) -> None:
        """Warm up, then run rounds: at least `fewest`, at most MOST_ROUNDS.

        Between these bounds, stop if one more round might end later than `seconds` after the start of the warm-up.
        """
        stop, slowest = time.perf_counter() + seconds, 0.0
        for label, process in self.running.items():
            self.tell(f"{self.title}: warming up {label}")
            self.warm_up[label] = process.call("prepare", case)
            self.rounds[label] = []
        sizes = {label: turn_size(found["seconds"]) for label, found in self.warm_up.items()}
        for round_ in range(MOST_ROUNDS):
            started = time.perf_counter()
            if round_ >= fewest and started + slowest > stop:
                return
            self.tell(f"{self.title}: round {round_ + 1}")
            for label in self.draw.sample(list(self.running), len(self.running)):
                self.rounds[label].append(self.running[label].call("turn", *sizes[label], round_))
            slowest = max(slowest, time.perf_counter() - started)


def turn_size(seconds: float) -> tuple[int, int]:
    """Return (timed calls, untimed calls before them) in a turn of a model whose call takes `seconds`.

    If calls are short, an untimed call comes first, because the caches are full of other models' data.
    """
    calls = max(1, min(MOST_CALLS, round(TURN_SECONDS / seconds)))
    return calls, 1 if calls > 1 else 0


def rows_of(
    plan: MeasurementPlan, where: Mapping[str, Any], turns: Turns, tokenised: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return a row for each model: each call's seconds by round, their summary, and the ratio to the reference.

    Only rounds that every model finished count. If there is none, there are no rows.
    """
    rounds = turns.rounds
    whole = min((len(each) for each in rounds.values()), default=0)
    if not whole:
        return []
    rows = []
    for label, every in rounds.items():
        reference = plan.reference(label)
        row = {
            "model": label,
            "reference": reference,
            "control": label.endswith(AGAIN),
            **where,
            "seconds": every[:whole],
            "summary": asdict(summarise(every[:whole])),
            "ratio": asdict(ratio(every[:whole], rounds[reference][:whole])),
            "warm_up": turns.warm_up[label],
        }
        if tokenised:
            row["tokenisation"] = tokenised[label]
        rows.append(row)
    return rows
