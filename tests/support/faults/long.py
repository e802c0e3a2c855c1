"""A long run that is killed again and again, beside the same run which nothing stops."""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from bistil_ds.runs.files import write_whole
from faults.campaign import complaints, place_to_go_on
from faults.life import Ended, Patience, live
from faults.memory import PERIOD, Sampler
from faults.places import AT_ANY_TIME, Kill
from faults.whole import LOGS, events, scalars

WHOLE, KILLED = "whole", "killed"
LOGGED = 5  # steps between two lines of the log; checkpoints are at multiples of it
PATIENCE = Patience(whole=math.inf, others=900.0)  # somebody may stop the processes for a while


@dataclass(frozen=True)
class Plan:
    """A run of phase 1, and when it is killed.

    Args:
        flags: of `general.py`: model, texts, batch and so on.
        ranks: how many.
        steps: of the whole run.
        save_steps: from a checkpoint to the next.
        kill_steps: from a start to its kill, on average; more than save_steps, or the run never ends.
        pace: seconds a step.
        seed: draws the kills.
    """

    flags: tuple[str, ...]
    ranks: int
    steps: int
    save_steps: int
    kill_steps: int
    pace: float
    seed: int

    def words(self, out: Path) -> list[object]:
        """Return the flags that start the run in `out`, and that let it go on there."""
        words: list[object] = ["--output_dir", out, "--resume_from_checkpoint", "true", "--disable_tqdm", "true"]
        words += ["--max_steps", self.steps, "--save_steps", self.save_steps, "--eval_steps", self.save_steps]
        return [*words, "--logging_steps", LOGGED, *self.flags]

    def kill(self, life: int) -> Kill:
        """Return when to kill which ranks in a life, counted from 0: in a half to one and a half of `kill_steps`."""
        draw = random.Random(f"{self.seed}-{life}")
        number = draw.randint(max(self.kill_steps // 2, 1), max(self.kill_steps * 3 // 2, 1))
        seconds, alone = draw.uniform(0, self.pace), self.ranks > 1 and draw.random() < 0.5
        return Kill(AT_ANY_TIME, "", number, 0, seconds, draw.randrange(self.ranks) if alone else 0, alone)

    def trained(self) -> int:
        """Return how many steps all lives begin together, those that are trained again counted again."""
        life = done = total = 0
        while self.steps - done > (begun := self.kill(life).number - 1):
            total, life = total + begun, life + 1
            done += begun // self.save_steps * self.save_steps
        return total + self.steps - done


def planned(plan: Plan, seconds: float) -> Plan:
    """Return the plan with as many steps as its lives train in so many seconds; at least up to two checkpoints."""
    fits = plan_of(plan, 2)
    while (longer := plan_of(plan, fits.steps // plan.save_steps + 1)).trained() * plan.pace <= seconds:
        fits = longer
    return fits


def plan_of(plan: Plan, checkpoints: int) -> Plan:
    """Return the plan with steps up to so many checkpoints."""
    return replace(plan, steps=checkpoints * plan.save_steps)


class Side:
    """One of the two runs in a folder, with the journal of its lives.

    Attributes:
        run, cache: its folders.
        samples: file with the samples of memory.
        journal: how often it was `started`, its `lives`, and whether it is `over`.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.folder = name, folder / name
        self.run, self.cache = self.folder / "run", self.folder / "cache"
        self.samples, self._file = self.folder / "memory.jsonl", self.folder / "journal.json"
        text = self._file.read_text(encoding="utf-8") if self._file.exists() else ""
        self.journal: dict[str, Any] = json.loads(text) if text else {"started": 0, "lives": [], "over": False}

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._file, json.dumps(self.journal, indent=1))

    def live_on(self, plan: Plan, parent: int) -> int:
        """Start the run again after each kill until it is through; return 1 if a life ended as it should not.

        Args:
            parent: the process with which this one ends.
        """
        lives = self.journal["lives"]
        while not self.journal["over"]:
            self.journal["started"] += 1
            self.write()
            kill, newest = (plan.kill(len(lives)) if self.name == KILLED else None), place_to_go_on(self.run)
            sample = Sampler(self.samples, self.journal["started"])

            def watch(running: Mapping[int, int], sample: Sampler = sample) -> None:
                if os.getppid() != parent:
                    for process in running:
                        os.kill(process, signal.SIGKILL)
                    os._exit(1)
                sample(running)

            words = plan.words(self.run)
            ended = live("general", words, plan.ranks, self.run, self.cache, kill, PATIENCE, watch)
            wrong = complaints(ended, kill, newest)
            lives.append(_life(ended, kill, wrong))
            self.journal["over"] = not ended.killed and not wrong
            self.write()
            if wrong:
                print(self.name, *wrong, ended.said[-3000:], sep="\n", flush=True)
                return 1
        return 0


def _life(ended: Ended, kill: Kill | None, wrong: list[str]) -> dict[str, Any]:
    return {
        "kill": {"batch": kill.number, "seconds": kill.seconds, "rank": kill.rank if kill.alone else "all"}
        if kill and ended.killed
        else None,
        "codes": ended.codes,
        "first": ended.first,
        "last": ended.last,
        "batches": ended.batches,
        "minutes": ended.trained / 60,
        "seconds_a_step": ended.between / (ended.batches - 1) if ended.batches > 1 else None,
        "others_ended_after": ended.after if len(ended.codes) > 1 else None,
        "complaints": wrong,
    }


def measure_pace(plan: Plan, folder: Path, cache: Path) -> float:
    """Return the seconds that a step takes, from a short run in `folder`, which fills the cache too."""
    short = replace(plan, steps=2 * LOGGED, save_steps=2 * LOGGED)
    ended = live("general", short.words(folder), plan.ranks, folder, cache, None, PATIENCE)
    if any(ended.codes):
        raise RuntimeError(f"the run ended with {ended.codes} though nothing stopped it:\n{ended.said[-3000:]}")
    return ended.between / (ended.batches - 1)


def log_faults(run: Path, plan: Plan) -> list[str]:
    """Return a line for each tag of TensorBoard whose steps have a gap or a double.

    Training is logged every `LOGGED` steps, validations at each checkpoint and before the first step. Left out are the
    epoch, which stands in both, and what is logged once at the end.
    """
    lines = []
    for tag, rows in scalars(run).items():
        steps = [step for step, _ in rows]
        first, every = (0, plan.save_steps) if "/eval/" in tag else (LOGGED, LOGGED)
        due = list(range(first, plan.steps + 1, every))
        if steps != due and len(steps) > 1 and not tag.endswith("/epoch"):
            twice = [step for step, number in Counter(steps).items() if number > 1]
            lines.append(f"{tag}: gaps {sorted(set(due) - set(steps))}, twice {twice}, also {set(steps) - set(due)}")
    return lines


def checkpoints(run: Path, begin: float, end: float) -> tuple[float, float]:
    """Return when a run first made a checkpoint between two times, and the median of the seconds from one to the next.

    A checkpoint's time is that of its validation in TensorBoard. Without two of them, `begin` and the whole time,
    but no less than from one sample of memory to the next.
    """
    at = [event.wall_time for event in events(run)[f"{LOGS}-0/eval/loss"] if event.step]
    at = [time for time in at if begin <= time <= end]
    if len(at) < 2:
        return begin, max(end - begin, PERIOD)
    return at[0], statistics.median(after - before for before, after in pairwise(at))


def in_words(record: Mapping[str, Any]) -> str:
    """Return counts and slopes of a long run as they stand in docs/reliability.md."""
    counts, flat = record["counts"], record["memory"]["uninterrupted"]
    slopes = " and ".join(
        f"{flat[name]['mib_an_hour']:.1f} ({flat[name]['low']:.1f} to {flat[name]['high']:.1f})"
        for name in sorted(flat)
        if re.fullmatch(r"rank \d+", name)
    )
    return (
        f"{counts['steps']} steps in {counts['minutes']['killed']:.0f} minutes, {counts['kills']} kills, "
        f"{counts['of_one_rank_alone']} of them of one rank alone: {counts['differences']} differences in "
        f"{counts['files']} files and {counts['tensorboard_values']:,} values of TensorBoard; MiB an hour of a rank: "
        f"{slopes}"
    )
