"""`bistil-demo`: run the whole pipeline on the embedded sample, then print tables and draw a picture."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.console import cli
from bistil_ds.console.terminal import say, show
from bistil_ds.console.user_path import user_path
from bistil_ds.demo.pipeline import Material, pipeline, sample_material
from bistil_ds.demo.scores import held, mean_of, scores_of, sizes_of
from bistil_ds.demo.show import draw, tables
from bistil_ds.distributed.startup import choose_accelerator
from bistil_ds.errors import InputError
from bistil_ds.runs.files import read_json, write_whole
from bistil_ds.runs.folder import run_folder
from bistil_ds.sample.defaults import SAMPLE_LANGUAGES

RESULT = "demo.json"  # in a seed's folder, when the seed is done


@dataclass(frozen=True)
class DemoArguments:
    """The flags of the demo."""

    seeds: int = field(
        default=1, metadata={"help": "Run it with this many seeds; with two or more, write a record of them all."}
    )
    output_dir: str | None = field(
        default=None,
        metadata={"help": "Where the models go; seeds that are done there are kept. Default: runs/demo-<time>."},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code: 0, 2 for bad input, 130 after Ctrl-C.

    Raises:
        SystemExit: a command failed; the process then exits with that command's code.
    """
    return cli.run(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> None:
    """Run every command as a user does, once a seed; print the tables and write `demo.png` to the run folder."""
    flags = cli.parse(argv, [DemoArguments], "Run the whole pipeline on the embedded sample, in a few minutes a seed.")
    if flags.seeds < 1:
        raise InputError(f"--seeds {flags.seeds}: give at least 1")
    choose_accelerator()  # sets an environment variable, which DeepSpeed's launcher inherits
    chosen = None if flags.output_dir is None else user_path(flags.output_dir)
    begun = chosen is not None and any(chosen.glob("seed-*"))
    folder = chosen if chosen and begun else run_folder(flags.output_dir, "demo", None, resumable=False)
    material = sample_material()
    try:
        rows = [run_seed(folder / f"seed-{seed}", material, seed) for seed in range(flags.seeds)]
    except subprocess.CalledProcessError as error:
        raise SystemExit(error.returncode) from None
    scores, sizes = [row["scores"] for row in rows], rows[0]["sizes"]
    for table in tables(scores, sizes, SAMPLE_LANGUAGES[1]):
        show(table)
    picture = folder / "demo.png"
    draw(picture, scores, sizes, folder / "seed-0" / "student")
    if flags.seeds > 1:
        path = write_record(material, rows, vars(flags))
        shutil.copy(picture, path.with_suffix(".png"))
        say(path)
    log = f"tensorboard --logdir {shlex.quote(str(folder))}"
    say(f"picture: {picture}    models: {folder}    log: {log}")


def run_seed(folder: Path, material: Material, seed: int) -> dict[str, Any]:
    """Return what a seed gives: its number, scores and sizes. Read them if the seed is done; else run what is left."""
    done = folder / RESULT
    if done.is_file():
        return read_json(done, "remove the folder, and the seed is run again", keys=("seed", "scores", "sizes"))
    evaluations = pipeline(folder, material, seed)
    row = {"seed": seed, "scores": scores_of(evaluations), "sizes": sizes_of(evaluations)}
    write_whole(done, json.dumps(row, indent=1) + "\n")
    return row


def write_record(material: Material, rows: Sequence[Mapping[str, Any]], arguments: Mapping[str, Any]) -> Path:
    """Write the record of several seeds, with their means and what holds in how many, and return its path."""
    scores = [row["scores"] for row in rows]
    seeds = {"first": rows[0]["seed"], "last": rows[-1]["seed"]}
    settings = {"task": material.task, "examples": material.examples, "flags": material.flags}
    with ResultFile(RESULTS, "demo", torch.device("cpu"), arguments, seeds) as record:
        summary = {"mean": mean_of(scores), "held": held(scores, SAMPLE_LANGUAGES[1])}
        record.content |= {"settings": settings, **summary, "rows": rows}
    return record.path


if __name__ == "__main__":
    sys.exit(main())
