"""Measure the latency of models side by side: each in a process of its own, taking turns in random order.

If the machine slows down, all models of a round slow down alike, so ratios are taken within a round. One model runs in
two processes; the distance of their ratio from 1 is the noise of the run.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

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


class Run(NamedTuple):
    """One model in one engine, from weights of one dtype."""

    label: str
    engine: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.label} in {self.engine} {self.dtype}"


def measure(plan: MeasurementPlan, content: dict[str, Any], tell: Tell, save: Callable[[], None]) -> None:
    """Measure every case of `plan`, add its rows to a record's content, and save the record after each case.

    An engine or a case that cannot run gets one row that says why.

    Args:
        tell: called with the share of the run that is done (0 to 1) and what is being done.
    """
    content["models"] = {}
    groups = plan.groups()
    budget = Budget(plan.seconds, [weight(case) for _ in groups for case in plan.cases])
    draw = random.Random(plan.seed)
    with tempfile.TemporaryDirectory() as folder:
        for group in groups:
            with _running(plan, group, Path(folder), content["rows"], partial(tell, budget.done())) as running:
                facts = {run: process.call("describe") for run, process in running.items()}
                content["models"] |= {run.label: found["parameters"] for run, found in facts.items()}
                for case in plan.cases if running else ():
                    tokenised = _tokenised(plan, case, running)
                    turns = Turns(running, draw, partial(tell, budget.done()), case_text(asdict(case)))
                    try:
                        turns.take(case, budget.allot(weight(case)), plan.fewest_rounds)
                    except RemoteError as error:  # for example memory ran out
                        where = {"engine": turns.now.engine, "dtype": turns.now.dtype, **asdict(case)}
                        content["rows"].append({**where, "unavailable": f"{turns.now.label}: {error}"})
                    finally:
                        content["rows"] += rows_of(plan, case, turns, facts, tokenised)
                    budget.spend(weight(case))
                    save()
            if not running:
                budget.spend(sum(map(weight, plan.cases)))


def weight(case: InputCase) -> float:
    """Return a case's weight in the time budget: tokens of a batch (32 for each text) divided by threads."""
    return case.batch * (case.length or 32) / case.threads


@contextmanager
def _running(
    plan: MeasurementPlan,
    settings: Sequence[tuple[str, str]],
    folder: Path,
    rows: list[dict[str, Any]],
    tell: Callable[[str], object],
) -> Iterator[dict[Run, InOwnProcess]]:
    """Run each model in each setting; a setting that cannot run gets a row with the reason instead.

    The files of engines stay in `folder`, for the model's second process and for other engines.
    """
    with ExitStack() as stack:
        running: dict[Run, InOwnProcess] = {}
        for engine, dtype in settings:
            reason = unavailable(engine, dtype, plan.device)
            with ExitStack() as started:
                found = {} if reason else _start(plan, (engine, dtype), folder, started, tell)
                try:
                    for run, process in found.items():
                        tell(f"preparing {run}")
                        process.call("make_engine", plan.text, plan.max_length)
                except RemoteError as error:  # for example an export failed
                    reason, found = f"{run.label}: {error}", {}
                else:
                    stack.push(started.pop_all())
            if reason:
                rows.append({"engine": engine, "dtype": dtype, "unavailable": reason})
            running |= found
        yield running


def _start(
    plan: MeasurementPlan, setting: tuple[str, str], folder: Path, stack: ExitStack, tell: Callable[[str], object]
) -> dict[Run, InOwnProcess]:
    found = {}
    for label, name in plan.names().items():
        run = Run(label, *setting)
        tell(f"starting {run}")
        files = folder / str(plan.models.index(name))
        files.mkdir(exist_ok=True)
        with blame_flag(f"--model {name}"):
            found[run] = stack.enter_context(InOwnProcess(Subject, name, *setting, str(plan.device), str(files)))
    return found


def _tokenised(plan: MeasurementPlan, case: InputCase, running: Mapping[Run, InOwnProcess]) -> dict[Run, Any]:
    if not plan.text:
        return {}
    found = {}
    for run, process in running.items():
        with blame_flag(f"--model {run.label}, with --text_file"):
            found[run] = process.call("use_text", plan.text_batches(case), plan.max_length)
    return found


@dataclass
class Turns:
    """Rounds of one case. In a round every model has one turn, in random order.

    Attributes:
        rounds: run → for each of its turns, the seconds of each call.
        warm_up: run → the result of `Subject.prepare`.
        now: the run whose turn it is, or was last.
    """

    running: Mapping[Run, InOwnProcess]
    draw: random.Random
    tell: Callable[[str], object]
    title: str
    rounds: dict[Run, list[list[float]]] = field(default_factory=dict)
    warm_up: dict[Run, dict[str, Any]] = field(default_factory=dict)
    now: Run = field(init=False)

    def take(self, case: InputCase, seconds: float, fewest: int) -> None:
        """Warm up, then run rounds: at least `fewest`, at most MOST_ROUNDS.

        Between these bounds, stop if one more round might end later than `seconds` after the start of the warm-up.
        """
        stop, slowest = time.perf_counter() + seconds, 0.0
        for run in self.running:
            self.tell(f"{self.title}: warming up {run}")
            self.warm_up[run] = self._call(run, "prepare", case)
            self.rounds[run] = []
        sizes = {run: turn_size(found["seconds"]) for run, found in self.warm_up.items()}
        for round_ in range(MOST_ROUNDS):
            started = time.perf_counter()
            if round_ >= fewest and started + slowest > stop:
                return
            self.tell(f"{self.title}: round {round_ + 1}")
            for run in self.draw.sample(list(self.running), len(self.running)):
                self.rounds[run].append(self._call(run, "turn", *sizes[run], round_))
            slowest = max(slowest, time.perf_counter() - started)

    def _call(self, run: Run, method: str, *arguments: object) -> Any:
        self.now = run
        return self.running[run].call(method, *arguments)


def turn_size(seconds: float) -> tuple[int, int]:
    """Return (timed calls, untimed calls before them) in a turn of a model whose call takes `seconds`.

    If calls are short, an untimed call comes first, because the caches are full of other models' data.
    """
    calls = max(1, min(MOST_CALLS, round(TURN_SECONDS / seconds)))
    return calls, 1 if calls > 1 else 0


def rows_of(
    plan: MeasurementPlan,
    case: InputCase,
    turns: Turns,
    facts: Mapping[Run, Mapping[str, Any]],
    tokenised: Mapping[Run, Any],
) -> list[dict[str, Any]]:
    """Return a row for each run: each call's seconds by round, their summary, and the ratio to the reference.

    Side by side, a row has the ratio to the first row too: to the first model in the first engine. Only rounds that
    every run finished count. If there is none, there are no rows.
    """
    rounds = turns.rounds
    whole = min((len(each) for each in rounds.values()), default=0)
    if not whole:
        return []
    first = next(iter(rounds))
    rows = []
    for run, every in rounds.items():
        reference = run._replace(label=plan.reference(run.label))
        row = {
            "model": run.label,
            "reference": reference.label,
            "control": run.label.endswith(AGAIN),
            "engine": run.engine,
            "dtype": run.dtype,
            **asdict(case),
            "disk_bytes": facts[run]["disk_bytes"],
            "seconds": every[:whole],
            "summary": asdict(summarise(every[:whole])),
            "ratio": asdict(ratio(every[:whole], rounds[reference][:whole])),
            "warm_up": turns.warm_up[run],
        }
        if plan.side_by_side:
            row["ratio_to_first"] = asdict(ratio(every[:whole], rounds[first][:whole]))
        if tokenised:
            row["tokenisation"] = tokenised[run]
        rows.append(row)
    return rows
