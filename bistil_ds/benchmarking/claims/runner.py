"""Run the package's commands as steps of a grid: a finished step is not run again, and a stopped one goes on."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bistil_ds.benchmarking.harness.result_file import REPOSITORY
from bistil_ds.console.terminal import say
from bistil_ds.errors import InputError, Preempted
from bistil_ds.runs.files import read_json, write_whole
from bistil_ds.runs.record import RECORD_FILE

SCRIPTS = (REPOSITORY if (REPOSITORY / "launch_scripts").is_dir() else Path()) / "launch_scripts"  # in a clone
RESUMABLE = ("general", "teacher", "task")  # scripts that save a checkpoint on SIGTERM, and go on from it


class OutOfTimeError(Exception):
    """Error for a step that was not begun, or was stopped at a checkpoint, because the time for this piece is over."""


class StepError(Exception):
    """Error for a step whose command failed; the command has printed why."""

    def __init__(self, step: str, code: int) -> None:
        super().__init__(f"{step}: exit code {code}")


class Runner:
    """Runs steps, each in a subfolder of one folder; beside it, `<step>.step.json` tells its command and its seconds.

    Args:
        folder: the folder of all steps.
        minutes: how long this piece of the grid may take; None means no limit. A command of `RESUMABLE` is then stopped
            at a checkpoint. Other commands, which are shorter, run to their end.

    Attributes:
        commands: how many commands it has run.
    """

    def __init__(self, folder: Path, minutes: float | None = None) -> None:
        self.folder = folder
        self.stop = None if minutes is None else time.monotonic() + 60 * minutes
        self.failed: dict[str, StepError] = {}
        self.commands = 0

    def run(self, script: str, step: str, flags: Mapping[str, Any]) -> Path:
        """Return the step's folder; run `script` to make it, unless a run with the same flags has finished it.

        Raises:
            InputError: the step was begun with other flags.
            OutOfTimeError: the time for this piece is over.
            StepError: the command failed, now or earlier in this piece.
        """
        if step in self.failed:
            raise self.failed[step]
        folder, facts = self.folder / step, self.folder / f"{step}.step.json"
        words = [script]
        for flag, value in {**flags, "output_dir": folder}.items():
            words += [f"--{flag}", *map(str, value if isinstance(value, list) else [value])]
        advice = f"remove {folder} and {facts}"
        known = read_json(facts, advice, keys=("words", "seconds")) if facts.is_file() else None
        begun = (folder / RECORD_FILE).is_file()
        if known and known["words"] != words:
            raise InputError(f"{folder}: was begun with other settings (see {facts}); {advice}, or choose another one")
        if begun and read_json(folder / RECORD_FILE, advice, keys=("finished",))["finished"]:
            return folder
        if self.stop is not None and time.monotonic() >= self.stop:
            raise OutOfTimeError
        resumes = begun and script in RESUMABLE
        if known and folder.exists() and not resumes:
            shutil.rmtree(folder)  # what an interrupted command left cannot be used
        self.folder.mkdir(parents=True, exist_ok=True)
        say(f"=== {step}")
        self.commands += 1
        seconds = known["seconds"] if known else 0.0
        write_whole(facts, json.dumps({"words": words, "seconds": seconds}))
        started = time.monotonic()
        code = self._wait([*words, *(["--resume_from_checkpoint", "true"] if resumes else [])])
        write_whole(facts, json.dumps({"words": words, "seconds": seconds + time.monotonic() - started}))
        if code == Preempted.CODE:
            raise OutOfTimeError
        if code:
            self.failed[step] = StepError(step, code)
            raise self.failed[step]
        remove_large(folder, script)
        return folder

    def seconds(self, step: str) -> float:
        """Return the seconds that the step's command has run, all pieces together."""
        facts = self.folder / f"{step}.step.json"
        return float(read_json(facts, f"remove {facts}", keys=("seconds",))["seconds"])

    def _wait(self, words: list[str]) -> int:
        """Run a script with its flags, and return the exit code.

        If it outlasts this piece and can be resumed, it is asked to save a checkpoint and stop.
        """
        script, *flags = words
        with subprocess.Popen([sys.executable, str(SCRIPTS / f"{script}.py"), *flags]) as process:
            try:
                if self.stop is not None and script in RESUMABLE:
                    try:
                        return process.wait(max(0.0, self.stop - time.monotonic()))
                    except subprocess.TimeoutExpired:
                        process.send_signal(signal.SIGTERM)
                return process.wait()
            except KeyboardInterrupt:
                process.wait()  # the terminal has sent the signal to the command too
                raise


def remove_large(folder: Path, script: str) -> None:
    """Remove what a finished run needs no more: checkpoints, and the models that a fine-tuning started from."""
    for checkpoint in folder.glob("**/checkpoint-*"):
        shutil.rmtree(checkpoint)
    if script in ("teacher", "task"):
        shutil.rmtree(folder / "build", ignore_errors=True)
