"""Train phase 1 for hours beside the same run which is killed again and again; compare the ends, and fit the memory.

    python long_run.py [--minutes 120] [--save_minutes 10] [--kill_minutes 15] [--seed 1] [--ranks 2] [--folder DIR]
                       [flags of general.py: --teacher_model, --text, --deepspeed ...; default: the embedded sample]

Both runs go on at once, and each kill ends all ranks of one of them, or one rank; seeds draw when. How many steps fit
into the time is found from a few steps before. The record of kills, memory and differences goes to `output_dir`. The
same command goes on if this program was stopped, where `--folder` says where. Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from faults.life import warm_up
from faults.long import (
    KILLED,
    LOGGED,
    WHOLE,
    Plan,
    Side,
    checkpoints,
    log_faults,
    measure_pace,
    plan_of,
    planned,
)
from faults.memory import growth_between, growth_within, read_samples
from faults.whole import cache_differences, differences, scalars

from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.runs.files import write_whole
from bistil_ds.sample import sample_corpora, sample_mmt

BLOCKS = 4  # of samples from a checkpoint to the next, each with its mean


def both(work: Callable[[str], object]) -> None:
    """Do the work of both runs at once, each in a fork of this process.

    Raises:
        SystemExit: one of them failed.
    """
    fork = multiprocessing.get_context("fork")
    sides = [fork.Process(target=lambda name=name: raise_if(work(name))) for name in (WHOLE, KILLED)]
    for side in sides:
        side.start()
    for side in sides:
        side.join()
    raise_if(any(side.exitcode for side in sides))


def raise_if(failed: object) -> None:
    if failed:
        raise SystemExit(1)


def make_plan(flags: argparse.Namespace, folder: Path) -> Plan:
    """Return the plan of the runs in `folder`; make it if there is none yet."""
    file = folder / "plan.json"
    if file.exists():
        content = json.loads(file.read_text(encoding="utf-8"))
        return Plan(**{**content, "flags": tuple(content["flags"])})
    more = tuple(flags.more)
    if "--teacher_model" not in more:  # or else each run has a copy in its own cache
        os.environ["BISTIL_CACHE"] = str(folder / "sample")
        texts = [f"{language}={file}" for language, file in sample_corpora().items()]
        more += ("--teacher_model", str(sample_mmt()), "--text", *texts, "--max_length", "64")
    plan = Plan(more, flags.ranks, 0, 0, 0, flags.pace or 0.0, flags.seed)
    if not flags.pace:

        def measure(name: str) -> None:
            shutil.rmtree(place := folder / f"measured-{name}", ignore_errors=True)
            seconds = measure_pace(plan, place / "run", Side(folder, name).cache)
            write_whole(folder / f"{name}.pace", str(seconds))
            shutil.rmtree(place)

        both(measure)
        plan = replace(plan, pace=max(float((folder / f"{one}.pace").read_text()) for one in (WHOLE, KILLED)))
    saves = max(round(flags.save_minutes * 60 / plan.pace / LOGGED), 1) * LOGGED
    kills = max(round(flags.kill_minutes * 60 / plan.pace), saves * 3 // 2)
    plan = replace(plan, save_steps=saves, kill_steps=kills)
    plan = plan_of(plan, flags.checkpoints) if flags.checkpoints else planned(plan, flags.minutes * 60)
    write_whole(file, json.dumps(asdict(plan)))
    return plan


def compare(plan: Plan, whole: Side, killed: Side) -> dict[str, Any]:
    """Return counts, differences and growth of memory of both runs, which are over."""
    lines = differences(killed.run, whole.run) + cache_differences(killed.cache, whole.cache)
    lines += [line for side in (whole, killed) for life in side.journal["lives"] for line in life["complaints"]]
    lines += [f"TensorBoard: {side.name}: {line}" for side in (whole, killed) for line in log_faults(side.run, plan)]
    samples = {side.name: read_samples(side.samples, plan.ranks) for side in (whole, killed)}
    longest = Counter(row["life"] for row in samples[WHOLE]).most_common(1)  # this program may have been stopped
    one_life = [row for row in samples[WHOLE] if row["life"] == longest[0][0]]
    begin, end = one_life[0]["time"], one_life[-1]["time"]
    first, interval = checkpoints(whole.run, begin, end)
    block = interval / BLOCKS
    lives = killed.journal["lives"]
    kills = [life["kill"] for life in lives if life["kill"]]
    return {
        "counts": {
            "steps": plan.steps,
            "kills": len(kills),
            "of_one_rank_alone": sum(kill["rank"] != "all" for kill in kills),
            "starts": {side.name: side.journal["started"] for side in (whole, killed)},
            "minutes": {side.name: sum(life["minutes"] for life in side.journal["lives"]) for side in (whole, killed)},
            "batches": {side.name: sum(life["batches"] for life in side.journal["lives"]) for side in (whole, killed)},
            "files": sum(path.is_file() for path in killed.run.rglob("*")),
            "bytes": sum(path.stat().st_size for path in killed.run.rglob("*") if path.is_file()),
            "tensorboard_values": sum(map(len, scalars(killed.run).values())),
            "differences": len(lines),
        },
        "differences": lines,
        "memory": {
            "uninterrupted": growth_within(one_life, first - begin + interval / 2, block),
            "from_start_to_start": growth_between(samples[KILLED], block),
            "samples": {name: columns(rows) for name, rows in samples.items()},
        },
        "rows": lives,
    }


def columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return samples as lists: minutes from the first, number of the start, MiB of each rank and of all processes."""
    return {
        "minute": [round((row["time"] - rows[0]["time"]) / 60, 2) for row in rows],
        "start": [row["life"] for row in rows],
        **{f"rank {rank}": [row["ranks"][rank] for row in rows] for rank in range(len(rows[0]["ranks"]))},
        "tree": [row["tree"] for row in rows],
    }


def without_folders(words: list[str]) -> list[str]:
    """Return words of a command in which files have only their last names."""
    return [f"{head}{mark}{Path(tail).name}" for head, mark, tail in (word.rpartition("=") for word in words)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--minutes", type=float, default=120, help="for the run that is killed")
    parser.add_argument("--checkpoints", type=int, help="train up to this one, however long that takes")
    parser.add_argument("--save_minutes", type=float, default=10, help="from a checkpoint to the next")
    parser.add_argument("--kill_minutes", type=float, default=15, help="from a start to its kill, on average")
    parser.add_argument("--pace", type=float, help="seconds a step; default: measured")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="for the runs; default: a temporary folder")
    parser.add_argument("--output_dir", type=Path, default=RESULTS / "faults", help="for the record")
    parser.add_argument("--note", default="", help="a remark for the record, such as where the model is from")
    flags, flags.more = parser.parse_known_args()
    folder = (flags.folder or Path(tempfile.mkdtemp(prefix="bistil-long-"))).resolve()
    os.environ["XDG_CONFIG_HOME"] = str(folder / "config")  # keeps the key that signs seals apart from the user's own
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    folder.mkdir(parents=True, exist_ok=True)
    warm_up()
    plan = make_plan(flags, folder)
    print(
        f"{plan.steps} steps of {plan.pace:.3g} s, a checkpoint every {plan.save_steps}, a kill about every "
        f"{plan.kill_steps}",
        flush=True,
    )
    parent = os.getpid()
    arguments = {**asdict(plan), "flags": without_folders(flags.more), "note": flags.note}
    with ResultFile(flags.output_dir, "long", torch.device("cpu"), arguments, {"seed": flags.seed}) as record:
        record.content["command"] = ["long_run.py", *without_folders(flags.more)]
        both(lambda name: Side(folder, name).live_on(plan, parent))
        record.content.update(compare(plan, Side(folder, WHOLE), Side(folder, KILLED)))
    print(*record.content["differences"], json.dumps(record.content["counts"]), sep="\n")
    for kind in ("uninterrupted", "from_start_to_start"):
        print(kind, json.dumps(record.content["memory"][kind], indent=1))
    failed = bool(record.content["differences"])
    if not failed and not flags.folder:
        shutil.rmtree(folder)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
