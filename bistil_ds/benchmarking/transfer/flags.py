"""Define the flags of the transfer benchmark, and plan its run. An example of the command:

    python benchmarks/transfer.py --mmt MODEL --data FOLDER --languages tr ha --tasks pos ner --output_dir runs/transfer

Without --mmt and --data the benchmark runs on the package's sample model and sample data.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bistil_ds.benchmarking.harness.benchmark import Job, Tell
from bistil_ds.benchmarking.harness.command import explain
from bistil_ds.benchmarking.harness.result_file import ResultFile
from bistil_ds.benchmarking.transfer.on_sample import SAMPLE_SETTINGS, link_sample
from bistil_ds.benchmarking.transfer.pipeline import MODELS, Transfer
from bistil_ds.console.yaml_file import read_yaml
from bistil_ds.errors import InputError
from bistil_ds.runs.files import read_json
from bistil_ds.sample import sample_mmt

SETTINGS = Path(__file__).with_name("settings.yaml")
QUICK_STEPS, QUICK_MODELS = 4, ["k2"]


@dataclass
class Flags:
    """Flags of the transfer benchmark."""

    mmt: str | None = field(default=None, metadata=explain("Folder or hub id of the multilingual model."))
    data: str | None = field(default=None, metadata=explain("Folder that the paths of the settings are relative to."))
    languages: list[str] = field(default_factory=list, metadata=explain("Target languages."))
    tasks: list[str] = field(
        default_factory=list, metadata=explain("Tasks of the settings; pos, dp and ner unless given.")
    )
    models: list[str] = field(
        default_factory=lambda: list(MODELS), metadata=explain("Models beside the teacher.", MODELS)
    )
    settings: str = field(default=str(SETTINGS), metadata=explain("YAML with every command's settings."))
    quick: bool = field(default=False, metadata=explain("One student, a few steps of each training."))
    output_dir: str = field(default="runs/transfer", metadata=explain("Folder of all runs and of the record."))


def plan(flags: Flags) -> Job:
    """Check the flags against the settings, and plan each pair of task and language that has test data.

    Raises:
        InputError: the settings lack a task, or have test data of a language for none of the tasks; or --mmt or --data
            is given alone.
    """
    if bool(flags.mmt) != bool(flags.data):
        raise InputError("--mmt and --data go together; without both, the embedded sample is used")
    settings = read_settings(flags.settings) if flags.data else SAMPLE_SETTINGS
    named = flags.settings if flags.data else "the embedded sample"
    tests = {task: set(found["test"]) - {"en"} for task, found in settings["tasks"].items()}
    tasks = flags.tasks or [task for task in ("pos", "dp", "ner") if task in tests]
    languages = flags.languages or sorted(set().union(*tests.values()) if not flags.data else ())
    if unknown := [task for task in tasks if task not in tests]:
        raise InputError(f"--tasks {unknown[0]}: {named} has {', '.join(tests)}")
    if not languages:
        raise InputError("--languages missing: give target languages")
    for language in languages:
        if not any(language in tests[task] for task in tasks):
            raise InputError(f"--languages {language}: {named} has no test data for it in these tasks")
    pairs = [(task, language) for task in tasks for language in languages if language in tests[task]]
    if wrong := [name for pair in pairs for name in pair if not re.fullmatch(r"\w[\w-]*", name)]:
        raise InputError(f"{named}: the task or language {wrong[0]!r} cannot be part of a folder's name")
    if flags.quick:
        flags.models, settings = QUICK_MODELS, shortened(settings)

    def measure(result: ResultFile, tell: Tell) -> None:
        folder = Path(flags.output_dir) / ("quick" if flags.quick else "")
        data = Path(flags.data) if flags.data else link_sample(folder / "data")
        steps = Transfer(flags.mmt or str(sample_mmt()), data, folder, settings)
        try:
            for task, language in pairs:
                found = steps.evaluate(task, language, flags.models) / "evaluation.json"
                evaluation = read_json(found, f"remove {found.parent}")
                result.content["rows"].append({"target": language, **evaluation})
                result.save()
        except subprocess.CalledProcessError as error:  # the command has printed why
            raise SystemExit(error.returncode) from None

    return Job(torch.device("cpu"), measure, bar=False)


def read_settings(name: str) -> dict[str, Any]:
    """Return the content of a settings file.

    Raises:
        InputError: the file cannot be read, or lacks settings that every run needs.
    """
    settings = read_yaml(Path(name), "--settings")
    tasks = settings.get("tasks")
    parts = {"phase_1": settings.get("phase_1"), "scratch": settings.get("scratch"), "tasks": tasks}
    for task, found in tasks.items() if isinstance(tasks, dict) else ():
        given = found if isinstance(found, dict) else {}
        parts |= {f"tasks.{task}.{part}": given.get(part) for part in ("test", "teacher", "student")}
        for part in ("train", "dev"):
            if not isinstance(given.get(part), str):
                raise InputError(f"--settings {name}: tasks.{task}.{part} is {given.get(part)!r}; expected en=FILE")
    if wrong := [part for part, value in parts.items() if not isinstance(value, dict)]:
        raise InputError(f"--settings {name}: {wrong[0]} is {parts[wrong[0]]!r}; expected names with values")
    return settings


def shortened(settings: Any) -> Any:
    """Return the settings with every number of steps reduced to QUICK_STEPS at most."""
    if not isinstance(settings, dict):
        return settings
    return {
        name: min(value, QUICK_STEPS) if name.endswith("steps") else shortened(value)
        for name, value in settings.items()
    }
