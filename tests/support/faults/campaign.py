"""Many kills: draw them by a seed, let the same command go on after each, and compare each end with a whole run's."""

from __future__ import annotations

import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bistil_ds.runs import checkpoints
from faults.life import Ended, live
from faults.places import AT_ANY_TIME, LOCK, PLACES, SEAL, Kill, area_of
from faults.runs import Run
from faults.whole import cache_differences, differences

MOST = {"open": 6, "seal": 2, "sealed": 2, "remove": 5, "rename": 2, "renamed": 2, "inside": 1, "": 6}  # for `number`


@dataclass
class Whole:
    """A run that nothing stopped.

    Args:
        run, cache: its folders.
        seconds: of a batch, with what belongs to it.
        sizes: area → the sizes of its files.
        operations: area → operation → how many there were.
    """

    run: Path
    cache: Path
    seconds: float = 0.0
    sizes: dict[str, list[int]] = field(default_factory=dict)
    operations: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass
class Trial:
    """One run that was killed several times: each kill with what it met, and how the end differs from a whole run's."""

    run: str
    seed: str
    kills: list[dict[str, Any]] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    misses: int = 0  # kills whose place was not reached, since the run was over


def finish(run: Run, material: Path, folder: Path) -> Whole:
    """Run a command that nothing stops.

    Raises:
        RuntimeError: it failed.
    """
    whole = Whole(folder / "whole", folder / "whole-cache")
    ended = live(run.command, run.words(material, whole.run), run.ranks, whole.run, whole.cache, None)
    if any(ended.codes):
        raise RuntimeError(f"{run.name} ended with {ended.codes} though nothing stopped it:\n{ended.said[-3000:]}")
    whole.seconds, whole.operations = ended.trained / ended.batches, ended.operations or {}
    files = {
        "build": (whole.run / "build").rglob("*"),
        "cache": whole.cache.rglob("*.arrow"),
        "save": whole.run.glob("checkpoint-*/**/*"),
        "border": whole.run.glob("stage-*/result/*"),
        "record": [whole.run / "run.json"],
        "end": [path for path in whole.run.iterdir() if path.is_file()],
    }
    whole.sizes = {area: [path.stat().st_size for path in paths if path.is_file()] for area, paths in files.items()}
    whole.sizes["save"] = whole.sizes["save"] or whole.sizes["build"]  # finished stages have removed their checkpoints
    return whole


def draw(run: Run, whole: Whole, choose: random.Random) -> list[Kill]:
    """Return the kills of one trial, in an order in which each place can still be reached."""
    places = [choose.choice(("build", "cache") if run.command == "general" else ("build",))]
    if run.command != "general" and "--dense" not in run.more:
        places += [choose.choice(("save", AT_ANY_TIME)), "border"]
    places += choose.sample(["save", "save", AT_ANY_TIME, AT_ANY_TIME, "record"], 3)
    if "border" not in places:
        places.append(choose.choice(("save", AT_ANY_TIME)))
    places.append("end" if run.command == "general" else choose.choice(("border", "end")))
    return [_draw_at(area, run, whole, choose) for area in places]


def _draw_at(area: str, run: Run, whole: Whole, choose: random.Random) -> Kill:
    met = area not in ("build", "cache")  # before the ranks have met, only a launcher knows of one that is gone
    alone = met and run.ranks > 1 and choose.random() < 0.5
    if area == AT_ANY_TIME:
        rank = choose.randrange(run.ranks) if alone else 0
        return Kill(area, "", choose.randint(1, MOST[""]), 0, choose.uniform(0, whole.seconds), rank, alone)
    found = whole.operations[area]
    operation = choose.choice([one for one in PLACES[area] if found[one]])
    size = int(choose.uniform(0.05, 0.95) * choose.choice(whole.sizes[area])) if operation == "inside" else 0
    return Kill(area, operation, choose.randint(1, min(found[operation], MOST[operation])), size, alone=alone)


def place_to_go_on(run: Path) -> list[Any] | None:
    """Return the folder and the step of the newest whole checkpoint; None if no step must follow one.

    That is so for a run without a checkpoint, and for one whose newest checkpoint is of the last step of its stage.
    """
    stages = sorted(run.glob("stage-*")) or [run]
    if (stages[-1] / "result" / SEAL).exists():
        return None
    whole = [one for one in checkpoints.all_checkpoints(stages[-1]) if (one / SEAL).exists()]
    if not whole or checkpoints.planned_steps(whole[-1]) == (step := checkpoints.steps_of(whole[-1])):
        return None
    return [stages[-1].name, step]


def kill_and_go_on(run: Run, material: Path, folder: Path, whole: Whole, kills: Sequence[Kill], seed: str) -> Trial:
    """Start a run in `folder`, kill it and give the same command again until it is through; compare it with `whole`."""
    trial, out, cache = Trial(run.name, seed), folder / "run", folder / "cache"
    waiting: list[Kill | None] = [*kills, None]
    while waiting:
        kill, newest = waiting.pop(0), place_to_go_on(out)
        ended = live(run.command, run.words(material, out), run.ranks, out, cache, kill)
        trial.differences += complaints(ended, kill, newest)
        if trial.differences:
            print(ended.said[-3000:], file=sys.stderr)
            return trial
        if not ended.killed:
            trial.misses = sum(one is not None for one in [kill, *waiting])
            break
        assert kill is not None
        trial.kills.append(_met(kill, ended, out, cache))
    trial.differences = differences(out, whole.run) + cache_differences(cache, whole.cache)
    return trial


def complaints(ended: Ended, kill: Kill | None, newest: list[Any] | None) -> list[str]:
    """Return what is wrong with a life, whether it was killed or not."""
    lines = ["ranks hung"] if ended.hung else []
    if not ended.killed and any(ended.codes):
        lines.append(f"{kill}: ended with {ended.codes}")
    at_end = kill is not None and kill.area in ("end", "record")  # where rank 0 may work alone, for others have ended
    if ended.killed and 0 in ended.codes and not at_end:
        lines.append(f"{kill}: a rank ended as if nothing had happened: {ended.codes}")
    if newest and ended.first and ended.first != newest:
        lines.append(f"went on from {ended.first}, not from the newest whole checkpoint, {newest}")
    return lines


def _met(kill: Kill, ended: Ended, out: Path, cache: Path) -> dict[str, Any]:
    """Return what a kill met."""
    file, area = ended.file or "", kill.area
    if kill.operation == "inside":  # which may have been another file than the one that the hook saw
        file = str(_latest_file(out, cache))
        area = area_of(file, out, cache) or "log"
    return {
        **{name: value for name, value in asdict(kill).items() if value not in ("", 0, 0.0)},
        "area": area,
        "file": file.replace(f"{out}/", "").replace(f"{cache}/", "cache/"),
        "codes": ended.codes,
        "step": ended.last,
        "others_ended_after": round(ended.after, 2) if len(ended.codes) > 1 else None,
    }


def _latest_file(*folders: Path) -> Path:
    """Return the file that was written last: the one in which a write was cut off."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.name != LOCK]
    return max(files, key=lambda path: path.stat().st_mtime_ns)


def campaign(
    runs: Sequence[Run], material: Path, folder: Path, kills: int, seed: int, told: Callable[[Trial], None]
) -> Iterator[Trial]:
    """Yield trials of the runs, one after the other and again from the first, until there were so many kills."""
    wholes: dict[str, Whole] = {}
    done = number = 0
    while done < kills:
        run = runs[number % len(runs)]
        place = folder / run.name
        if run.name not in wholes:
            wholes[run.name] = finish(run, material, place)
        name = f"{seed}-{number}"
        drawn = draw(run, wholes[run.name], random.Random(name))[: kills - done]
        trial = kill_and_go_on(run, material, place / name, wholes[run.name], drawn, name)
        done, number = done + len(trial.kills), number + 1
        if not trial.differences:
            shutil.rmtree(place / name)
        told(trial)
        yield trial


def in_words(counts: Mapping[str, Any]) -> str:
    """Return the counts of a campaign as they stand in docs/reliability.md."""
    return (
        f"{counts['kills']} kills, {counts['placed']} of them placed and {counts['of_one_rank_alone']} of one rank "
        f"alone; of {counts['runs']} runs of {counts['kinds']} kinds {counts['runs_that_differ']} differ"
    )


def count(trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the counts of a campaign."""
    kills = [kill for trial in trials for kill in trial.kills]
    areas = Counter(kill["area"] for kill in kills)
    return {
        "kills": len(kills),
        "placed": sum(number for area, number in areas.items() if area != AT_ANY_TIME),
        "by_area": dict(areas),
        "by_operation": dict(Counter(kill.get("operation", "time") for kill in kills)),
        "of_one_rank_alone": sum("alone" in kill for kill in kills),
        "runs": len(trials),
        "kinds": len({trial.run for trial in trials if trial.kills}),
        "runs_that_differ": sum(bool(trial.differences) for trial in trials),
    }
