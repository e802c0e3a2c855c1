"""Run the steps from a massively multilingual Transformer (MMT) to an evaluation, each as a user's command.

A step that is finished in the output folder is not run again, so a run that was stopped can be continued. Phase 1
distils the MMT on plain text, phase 2 on a task. The models:

    teacher   the MMT, tuned on the task
    k2, k3    students of every second and every third layer, tuned sparsely in phase 2
    dense     k2, but tuned densely
    unphased  k2 without phase 1
    scratch   a model of k2's size, pretrained from random weights and tuned densely without a teacher
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bistil_ds.benchmarking.harness.result_file import REPOSITORY
from bistil_ds.console.terminal import say
from bistil_ds.errors import InputError
from bistil_ds.runs.bounded import load_json
from bistil_ds.runs.files import read_json, write_whole

SCRIPTS = (REPOSITORY if (REPOSITORY / "launch_scripts").is_dir() else Path()) / "launch_scripts"  # in a clone
MODELS = ("k2", "k3", "dense", "unphased", "scratch")


class Transfer:
    """The steps; each one leaves its results in a subfolder of one output folder."""

    def __init__(self, mmt: str, data: Path, folder: Path, settings: dict[str, Any]) -> None:
        self.mmt, self.data, self.folder, self.settings = mmt, data, folder, settings

    def run(self, script: str, name: str, **flags: Any) -> Path:
        """Return the folder `name`; run `script` to make it, unless a run with the same flags has finished it.

        Raises:
            InputError: the folder was begun with other settings. (An evaluation is run again instead.)
            subprocess.CalledProcessError: the command failed.
        """
        folder = self.folder / name
        words = [sys.executable, str(SCRIPTS / f"{script}.py")]
        for flag, value in {**flags, "output_dir": folder}.items():
            words += [f"--{flag}", *map(str, value if isinstance(value, list) else [value])]
        record, command = folder / "run.json", self.folder / f"{name}.command.json"
        begun = read_json(record, f"remove {folder}", keys=("finished",)) if record.is_file() else None
        same = not command.is_file() or load_json(command) == words[1:]
        if begun and begun["finished"] and same:
            return folder
        if begun and script == "evaluate":  # evaluating is cheap, and the models may have changed since
            shutil.rmtree(folder)
        elif begun and not same:
            raise InputError(
                f"{folder}: was begun with other settings (see {command}); remove it, or choose another folder"
            )
        say(f"=== {name}")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(command, json.dumps(words[1:]))
        resume = ["--resume_from_checkpoint", "true"] if begun and script in ("general", "teacher", "task") else []
        subprocess.run([*words, *resume], check=True)
        return folder

    def student(self, language: str, k: int) -> Path:
        texts = {f"{side}_file": self.data / "text" / f"{code}.txt" for side, code in self._sides(language)}
        languages = {f"{side}_language": code for side, code in self._sides(language)}
        more = {**self._settings_of(self.settings, "phase_1", language), "layer_reduction_factor": k}
        return self.run("general", f"en-{language}-k{k}", teacher_model=self.mmt, **texts, **languages, **more)

    def scratch(self, language: str) -> Path:
        """Pretrain a masked LM from random weights on the corpora of the student `k2`, with that student's sizes."""
        texts, student = self.folder / "texts" / language, self.student(language, 2)
        texts.mkdir(parents=True, exist_ok=True)
        for _, code in self._sides(language):
            if not (texts / f"{code}.txt").is_symlink():
                (texts / f"{code}.txt").symlink_to((self.data / "text" / f"{code}.txt").resolve())
        more = self._settings_of(self.settings, "scratch", language)
        return self.run(
            "pretrain", f"en-{language}-scratch", input_folder=texts, tokenizer=student, config=student, **more
        )

    @staticmethod
    def _sides(language: str) -> list[tuple[str, str]]:
        return [("source", "en"), ("target", language)]

    def teacher(self, task: str) -> Path:
        return self.run("teacher", f"teacher-{task}", model=self.mmt, **self._task(task, "teacher", "en"))

    def model(self, task: str, language: str, kind: str) -> str:
        """Train one kind of model; return `KIND=BASE+TUNING`, the folders that `evaluate.py` takes."""
        name = f"en-{language}-{kind}-{task}"
        if kind == "scratch":
            base = self.scratch(language)
            sft = self.run("teacher", name, model=base, dense="true", **self._task(task, "student", language))
            return f"{kind}={base}+{sft}"
        base = self.student(language, 3 if kind == "k3" else 2)
        if kind == "unphased":
            base = base / "build" / "student"
        flags = {**self._task(task, "student", language), **({"dense": "true"} if kind == "dense" else {})}
        sft = self.run("task", name, student=base, teacher_model=self.mmt, teacher_sft=self.teacher(task), **flags)
        return f"{kind}={base}+{sft}"

    def _task(self, task: str, role: str, language: str) -> dict[str, Any]:
        settings = self.settings["tasks"][task]
        files = {f"{part}_file": self._file(settings[part]) for part in ("train", "dev")}
        return {"task": task, **files, **self._settings_of(settings, role, language)}

    @staticmethod
    def _settings_of(settings: dict[str, Any], name: str, language: str) -> dict[str, Any]:
        found: dict[str, Any] = settings.get(f"{name}_of", {}).get(language, settings[name])
        return found

    def _file(self, word: str) -> str:
        language, _, path = word.partition("=")
        return f"{language}={self.data / path}"

    def evaluate(self, task: str, language: str, kinds: list[str]) -> Path:
        settings = self.settings["tasks"][task]
        models = [f"teacher={self.mmt}+{self.teacher(task)}", *(self.model(task, language, kind) for kind in kinds)]
        tests = [f"{code}={self.data / settings['test'][code]}" for code in ("en", language)]
        more = {"label_map": settings["label_map"]} if "label_map" in settings else {}
        return self.run("evaluate", f"evaluation-{task}-{language}", model=models, test_file=tests, task=task, **more)
