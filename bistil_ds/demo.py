"""`bistil-demo`: run the whole pipeline on the embedded sample, then print a table and draw a picture."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bistil_ds.commands.evaluate import RESULT_FILE
from bistil_ds.console import cli
from bistil_ds.console.grid import Grid
from bistil_ds.console.terminal import say, show
from bistil_ds.distributed.startup import choose_accelerator, free_port
from bistil_ds.runs.checkpoints import STATE, all_checkpoints
from bistil_ds.runs.files import read_json
from bistil_ds.runs.folder import run_folder
from bistil_ds.sample import sample_corpora, sample_mmt
from bistil_ds.sample.defaults import (
    SAMPLE_LANGUAGES,
    SAMPLE_LEARNING_RATE,
    SAMPLE_LENGTH,
    SAMPLE_STEPS,
    SAMPLE_TASK,
    SAMPLE_TRAINING,
)
from bistil_ds.sample.tasks import sample_task_file

# `python` with these arguments runs DeepSpeed's launcher, even if PATH lacks the command `deepspeed`. --quiet hides the
# launcher's log; --module says that the program to launch is a module.
DEEPSPEED = ["-m", "deepspeed.launcher.runner", "--quiet", "--module"]
NAMES = {
    "teacher": "MMT, teacher",
    "student": "student",
    "no_phase_1": "student without phase 1",
    "scratch": "bilingual, from scratch",
}


@dataclass(frozen=True)
class DemoArguments:
    """The flags of the demo."""

    output_dir: str | None = field(default=None, metadata={"help": "Where the models go; default: runs/demo-<time>."})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code: 0, 2 for bad input, 130 after Ctrl-C.

    Raises:
        SystemExit: a command failed; the process then exits with that command's code.
    """
    return cli.run(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: Sequence[str]) -> None:
    """Run every command as a user does, then print the table and write `demo.png` to the run folder."""
    flags = cli.parse(argv, [DemoArguments], "Run the whole pipeline on the embedded sample, in about 10 minutes.")
    choose_accelerator()  # sets an environment variable, which DeepSpeed's launcher inherits
    folder = run_folder(flags.output_dir, "demo", None, resumable=False)
    try:
        evaluation = pipeline(folder)
    except subprocess.CalledProcessError as error:
        raise SystemExit(error.returncode) from None
    show(as_table(evaluation))
    log = f"tensorboard --logdir {shlex.quote(str(folder))}"
    say(f"picture: {draw(folder, evaluation)}    models: {folder}    log: {log}")


@dataclass(frozen=True)
class Material:
    """The models and files that the pipeline works on.

    Attributes:
        mmt: the folder of the multilingual model.
        corpora: language → text file, the source language first.
        task: name of the task.
        task_file: returns the task's file for a language of `corpora` and a split (train, dev or test).
        flags: command → its flags, except those that name models and files.
    """

    mmt: Path
    corpora: Mapping[str, Path]
    task: str
    task_file: Callable[[str, str], Path]
    flags: Mapping[str, Mapping[str, Any]]


def sample_material() -> Material:
    """Return the embedded sample, with flags for each command.

    The model that is pretrained from scratch sees as many tokens as the student sees in phase 1.
    """
    corpora = sample_corpora()
    return Material(
        sample_mmt(),
        {language: corpora[language] for language in SAMPLE_LANGUAGES},
        SAMPLE_TASK,
        lambda language, split: sample_task_file(SAMPLE_TASK, language, split),
        {
            "general": {"max_steps": SAMPLE_STEPS, "max_length": SAMPLE_LENGTH, "learning_rate": SAMPLE_LEARNING_RATE},
            "teacher": SAMPLE_TRAINING,
            "task": SAMPLE_TRAINING,
            "pretrain": {"steps": SAMPLE_STEPS, "batch_size": 8, "length": SAMPLE_LENGTH},
        },
    )


def pipeline(folder: Path, material: Material | None = None) -> dict[str, Any]:
    """Run phase 1, teacher tuning, phase 2, two baselines and the evaluation; return the content of `evaluation.json`.

    The baselines are a student that skips phase 1, and a bilingual model trained from random weights.

    Args:
        folder: where each command's run folder goes.
        material: the models and files; default: the embedded sample.

    Raises:
        subprocess.CalledProcessError: a command failed.
    """
    material = material or sample_material()
    source, *_ = languages = list(material.corpora)
    student, teacher, scratch = folder / "student", folder / "teacher", folder / "scratch"
    built = student / "build" / "student"  # the student before phase 1
    texts: dict[str, Any] = {}
    for side, language in zip(("source", "target"), languages):
        texts |= {f"{side}_language": language, f"{side}_file": material.corpora[language]}
    data = {f"{split}_file": f"{source}={material.task_file(source, split)}" for split in ("train", "dev")}
    tune: dict[str, Any] = {"task": material.task, **data, **material.flags["teacher"]}
    distil: dict[str, Any] = {"teacher_model": material.mmt, "teacher_sft": teacher, "task": material.task, **data}
    distil |= material.flags["task"]
    general: dict[str, Any] = {"teacher_model": material.mmt, **texts, **material.flags["general"]}
    _run("general", student, launcher=DEEPSPEED, deepspeed="zero2", **general)
    _run("teacher", teacher, model=material.mmt, **tune)
    _run("task", folder / "student-sft", launcher=DEEPSPEED, deepspeed="zero2", student=student, **distil)
    _run("task", folder / "no_phase_1-sft", student=built, **distil)
    (folder / "texts").mkdir()
    for language, path in material.corpora.items():
        shutil.copy(path, folder / "texts" / f"{language}.txt")
    likeness: dict[str, Any] = {"tokenizer": student, "config": student}
    _run("pretrain", scratch, input_folder=folder / "texts", **likeness, **material.flags["pretrain"])
    _run("teacher", folder / "scratch-sft", model=scratch, dense="true", **tune)
    bases = {"teacher": material.mmt, "student": student, "no_phase_1": built, "scratch": scratch}
    fine_tunings = {"teacher": teacher, **{name: folder / f"{name}-sft" for name in list(bases)[1:]}}
    models = [f"{name}={base}+{fine_tunings[name]}" for name, base in bases.items()]
    tests = [f"{language}={material.task_file(language, 'test')}" for language in languages]
    _run("evaluate", folder / "evaluation", model=models, test_file=tests, task=material.task)
    return read_json(folder / "evaluation" / RESULT_FILE, "evaluate again")


def _run(command: str, output_dir: Path, launcher: list[str] | None = None, **flags: Any) -> None:
    port = ["--master_port", str(free_port())] if launcher else []  # another run may hold the default port
    words = [sys.executable, *(launcher or ["-m"]), *port, f"bistil_ds.commands.{command}"]
    for name, value in {**flags, "output_dir": output_dir}.items():
        words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    say()
    say(f"=== {command}: {output_dir.name}")
    subprocess.run(words, check=True)


def as_table(evaluation: dict[str, Any]) -> Grid:
    """Return a table of the models: sizes, speed, and the score in each language with its 95 % interval."""
    metric = evaluation["metric"]
    scored = [f"{metric} {language}" for language in SAMPLE_LANGUAGES]
    title = f"the embedded sample: {evaluation['task']}, trained in English"
    table = Grid(title, ["model", "parameters", "MB", "sentences/s", *scored])
    for name, model in evaluation["models"].items():
        scores = [model["languages"][language]["score"][metric] for language in SAMPLE_LANGUAGES]
        size = [f"{model['parameters']:,}", f"{model['bytes'] / 1e6:.1f}", f"{model['examples_per_second']:.0f}"]
        intervals = [f"{s['value']:.1%} ({s['low']:.1%} to {s['high']:.1%})" for s in scores]
        table.rows.append([NAMES[name], *size, *intervals])
    return table


def draw(folder: Path, evaluation: dict[str, Any]) -> Path:
    """Draw validation loss, scores with intervals, and size and speed relative to the teacher; return the PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    history = validation_history(folder / "student")
    for language in SAMPLE_LANGUAGES:
        left.plot(
            [r["step"] for r in history], [r[f"eval_{language}_loss"] for r in history], marker=".", label=language
        )
    left.set(title="phase 1: validation loss", xlabel="step", yscale="log")
    left.legend()
    _score_bars(middle, evaluation)
    _relative_bars(right, evaluation["models"])
    path = folder / "demo.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def _score_bars(axis: Any, evaluation: dict[str, Any]) -> None:
    models, metric = evaluation["models"], evaluation["metric"]
    width = 0.8 / len(SAMPLE_LANGUAGES)
    for number, language in enumerate(SAMPLE_LANGUAGES):
        scores = [model["languages"][language]["score"][metric] for model in models.values()]
        values = [score["value"] for score in scores]
        beyond = [[s["value"] - s["low"] for s in scores], [s["high"] - s["value"] for s in scores]]
        places = [place + number * width for place in range(len(models))]
        bars = axis.bar(places, values, width, yerr=beyond, capsize=3, label=language)
        axis.bar_label(bars, fmt="{:.0%}", padding=2, fontsize=8)
    axis.set_xticks(
        [place + width / 2 for place in range(len(models))],
        [NAMES[name].replace(", ", ",\n").replace(" without", "\nwithout") for name in models],
    )
    axis.tick_params(axis="x", labelsize=8)
    axis.set(title=f"{evaluation['task']}, trained in English: {metric}", ylim=(0, 1.25))
    axis.legend(ncols=len(SAMPLE_LANGUAGES), loc="upper right")


def _relative_bars(axis: Any, models: dict[str, Any]) -> None:
    teacher, student = models["teacher"], models["student"]
    names = {"parameters": "parameters", "bytes": "bytes", "examples_per_second": "sentences/s"}
    axis.bar_label(axis.bar(list(names.values()), [student[name] / teacher[name] for name in names]), fmt="%.2f")
    axis.axhline(1, color="grey", linewidth=0.8)
    axis.set(title="student relative to the teacher")


def validation_history(folder: Path) -> list[dict[str, float]]:
    """Return the log rows of a phase-1 run's validations; the run's newest checkpoint holds them."""
    state = read_json(all_checkpoints(folder)[-1] / STATE, "train again", keys=("log_history",), finite=False)
    return [row for row in state["log_history"] if "eval_loss" in row]


if __name__ == "__main__":
    sys.exit(main())
