"""Run every command as a user does: phase 1, a task, two baselines and the evaluation, all with one seed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from bistil_ds.commands.evaluate import RESULT_FILE
from bistil_ds.console.terminal import say
from bistil_ds.distributed.startup import free_port
from bistil_ds.runs.files import read_json
from bistil_ds.runs.record import RECORD_FILE, RunRecord
from bistil_ds.sample import sample_corpora, sample_mmt
from bistil_ds.sample.defaults import SAMPLE_LANGUAGES, SAMPLE_LEARNING_RATE, SAMPLE_LENGTH, SAMPLE_STEPS
from bistil_ds.sample.tasks import sample_task_file

# `python` with these arguments runs DeepSpeed's launcher, even if PATH lacks the command `deepspeed`. --quiet hides the
# launcher's log; --module says that the program to launch is a module.
DEEPSPEED = ["-m", "deepspeed.launcher.runner", "--quiet", "--module"]
TASK = "ner"
# Two tasks without labels, on text that no training saw: every model predicts masked tokens, and finds each sentence's
# translation by its vector, the mean of its tokens' last states.
MASKED, TRANSLATIONS = "mlm", "embed"
EXAMPLES, DRAWS = 200, 10  # labelled English sentences of one seed; the sample has that many such parts
SHORT = {
    "learning_rate": 1e-3,
    "full_max_steps": 125,
    "sparse_max_steps": 250,
    "eval_strategy": "steps",
    "eval_steps": 125,
    "save_strategy": "steps",
    "save_steps": 125,
}


@dataclass(frozen=True)
class Material:
    """The models and files that the pipeline works on.

    Attributes:
        mmt: the folder of the multilingual model.
        corpora: language → text file, the source language first.
        task: name of the task.
        task_file: returns the file of a task for a language of `corpora` and a split (train, dev or test). In `MASKED`,
            line n of the test file means the same in every language.
        examples: number of labelled sentences to train on; they are drawn by the seed.
        flags: command → its flags, except those that name models and files.
    """

    mmt: Path
    corpora: Mapping[str, Path]
    task: str
    task_file: Callable[[str, str, str], Path]
    examples: int
    flags: Mapping[str, Mapping[str, Any]]


def sample_material() -> Material:
    """Return the embedded sample, with flags for each command.

    The model that is pretrained from scratch sees as many tokens as the student sees in phase 1.
    """
    corpora = sample_corpora()
    return Material(
        sample_mmt(),
        {language: corpora[language] for language in SAMPLE_LANGUAGES},
        TASK,
        sample_task_file,
        EXAMPLES,
        {
            "general": {"max_steps": SAMPLE_STEPS, "max_length": SAMPLE_LENGTH, "learning_rate": SAMPLE_LEARNING_RATE},
            "teacher": SHORT,
            "task": SHORT,
            "pretrain": {"steps": SAMPLE_STEPS, "batch_size": 8, "length": SAMPLE_LENGTH},
            "evaluate": {"max_length": SAMPLE_LENGTH},
        },
    )


def pipeline(folder: Path, material: Material, seed: int) -> dict[str, dict[str, Any]]:
    """Run phase 1, teacher tuning, phase 2, two baselines and the evaluations; return their `evaluation.json`, by task.

    The baselines are a student that skips phase 1, and a bilingual model trained from random weights.

    Args:
        folder: where each command's run folder goes.
        material: the models and files.
        seed: the seed of every command; it draws the labelled sentences, too.

    Raises:
        subprocess.CalledProcessError: a command failed.
    """
    student, scratch = folder / "student", folder / "scratch"
    built = student / "build" / "student"  # the student before phase 1
    bases = {"student": student, "teacher": material.mmt, "no_phase_1": built, "scratch": scratch}
    folder.mkdir(parents=True, exist_ok=True)
    _without_labels(folder, material, seed)
    fine_tunings = _with_labels(folder, material, seed, bases)
    tuned = {name: f"{base}+{fine_tunings[name]}" for name, base in bases.items()}
    compared: dict[str, Mapping[str, Any]] = {MASKED: bases, TRANSLATIONS: bases, material.task: tuned}
    return {task: _evaluate(folder, material, task, models) for task, models in compared.items()}


def _without_labels(folder: Path, material: Material, seed: int) -> None:
    """Distil the student, and pretrain the bilingual model from random weights, on the same texts."""
    texts: dict[str, Any] = {}
    for side, language in zip(("source", "target"), material.corpora):
        texts |= {f"{side}_language": language, f"{side}_file": material.corpora[language]}
    general = {"teacher_model": material.mmt, "seed": seed, **texts, **material.flags["general"]}
    _run("general", folder / "student", launched=True, **general)
    (folder / "texts").mkdir(exist_ok=True)
    for language, path in material.corpora.items():
        shutil.copy(path, folder / "texts" / f"{language}.txt")
    likeness = {"tokenizer": folder / "student", "config": folder / "student"}
    pretrain = {"input_folder": folder / "texts", "seed": seed, **likeness, **material.flags["pretrain"]}
    _run("pretrain", folder / "scratch", **pretrain)


def _with_labels(folder: Path, material: Material, seed: int, bases: Mapping[str, Path]) -> dict[str, Path]:
    """Tune every model on the task; return name → fine-tuning. Two of them learn from the teacher, in phase 2."""
    source = next(iter(material.corpora))
    train = part_of_seed(material.task_file(material.task, source, "train"), folder, material.examples, seed)
    dev = material.task_file(material.task, source, "dev")
    data = {"task": material.task, "train_file": f"{source}={train}", "dev_file": f"{source}={dev}", "seed": seed}
    found = {name: folder / f"{material.task}-{name}" for name in bases}
    tune = {**data, **material.flags["teacher"]}
    distil = {"teacher_model": material.mmt, "teacher_sft": found["teacher"], **data, **material.flags["task"]}
    _run("teacher", found["teacher"], model=material.mmt, **tune)
    _run("task", found["student"], launched=True, student=bases["student"], **distil)
    _run("task", found["no_phase_1"], student=bases["no_phase_1"], **distil)
    in_one_stage = {name: value for name, value in tune.items() if not name.startswith("full_")}
    _run("teacher", found["scratch"], model=bases["scratch"], dense="true", **in_one_stage)
    return found


def _evaluate(folder: Path, material: Material, task: str, models: Mapping[str, Any]) -> dict[str, Any]:
    flags = {"task": task, "model": [f"{name}={model}" for name, model in models.items()], **material.flags["evaluate"]}
    of = MASKED if task == TRANSLATIONS else task  # both read the same text
    tests = {language: str(material.task_file(of, language, "test")) for language in material.corpora}
    if task == TRANSLATIONS:
        flags["pooling"] = "mean"
        tests = {"-".join(tests): ",".join(tests.values())}
    done = folder / f"{task}-evaluation"
    _run("evaluate", done, test_file=[f"{language}={file}" for language, file in tests.items()], **flags)
    return read_json(done / RESULT_FILE, "evaluate again")


def part_of_seed(file: Path, folder: Path, examples: int, seed: int) -> Path:
    """Write to `folder` the part of a task's training file that belongs to a seed; return the new file.

    A file is cut into parts of `examples` sentences, which blank lines end. Seed n takes part n modulo DRAWS.
    """
    sentences = file.read_text(encoding="utf-8").split("\n\n")
    first = seed % DRAWS * examples
    part = folder / file.name
    part.write_text("".join(f"{each}\n\n" for each in islice(sentences, first, first + examples)), encoding="utf-8")
    return part


def _run(command: str, output_dir: Path, *, launched: bool = False, **flags: Any) -> None:
    """Run a command: in this process, as importing all libraries takes seconds, or by DeepSpeed's launcher.

    A run that is finished is kept; one that was interrupted begins anew.

    Raises:
        subprocess.CalledProcessError: the command failed.
        KeyboardInterrupt: Ctrl-C ended the command.
    """
    if (output_dir / RECORD_FILE).is_file() and RunRecord.open(output_dir).content["finished"]:
        return
    shutil.rmtree(output_dir, ignore_errors=True)
    words = []
    for name, value in {**flags, "output_dir": output_dir}.items():
        words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    module = f"bistil_ds.commands.{command}"
    say()
    say(f"=== {command}: {output_dir.name}")
    if launched:
        port = ["--master_port", str(free_port())]  # another run may hold the default port
        subprocess.run([sys.executable, *DEEPSPEED, *port, module, "--deepspeed", "zero2", *words], check=True)
    elif (code := import_module(module).main(words)) == 130:
        raise KeyboardInterrupt
    elif code:
        raise subprocess.CalledProcessError(code, module)
