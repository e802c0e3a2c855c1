"""Run the package's commands as steps of a grid: a finished step is not run again, and a stopped one goes on."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bistil_ds.benchmarking.harness.result_file import REPOSITORY
from bistil_ds.console.terminal import say
from bistil_ds.errors import InputError, Preempted
from bistil_ds.runs.files import read_json, write_whole
from bistil_ds.runs.record import RECORD_FILE

SCRIPTS = (REPOSITORY if (REPOSITORY / "launch_scripts").is_dir() else Path()) / "launch_scripts"  # in a clone
PAUSE = 10.0  # seconds until it is seen what other processes have finished
RESUMABLE = ("general", "teacher", "task")  # scripts that save a checkpoint on SIGTERM, and go on from it


class OutOfTimeError(Exception):
    """Error for a step that was not begun, or was stopped at a checkpoint, because the time for this piece is over."""


class BusyError(Exception):
    """Error for a step that another process is running, which makes the same grid in the same folder."""


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
        self._begins = True

    def run(self, script: str, step: str, flags: Mapping[str, Any]) -> Path:
        """Return the step's folder; run `script` to make it, unless a run with the same flags has finished it.

        Raises:
            InputError: the step was begun with other flags.
            OutOfTimeError: the time for this piece is over.
            BusyError: another process is running it.
            StepError: the command failed, now or earlier in this piece.
        """
        if step in self.failed:
            raise self.failed[step]
        folder = self.folder / step
        words = [script]
        for flag, value in {**flags, "output_dir": folder}.items():
            words += [f"--{flag}", *map(str, value if isinstance(value, list) else [value])]
        if self._is_finished(step, words):
            return folder
        if not self._begins or (self.stop is not None and time.monotonic() >= self.stop):
            raise OutOfTimeError
        try:
            with self.lock(step, timeout=0):
                if not self._is_finished(step, words):  # by another process since
                    self._make(step, words)
        except Timeout:
            raise BusyError(step) from None
        return folder

    @contextmanager
    def beginning_nothing(self) -> Iterator[None]:
        """In the block, let `run` raise OutOfTimeError for every step that has not finished."""
        self._begins = False
        try:
            yield
        finally:
            self._begins = True

    def lock(self, name: str, timeout: float = -1) -> FileLock:
        """Return a lock that only one process of those that share the folder can hold; it waits `timeout` seconds."""
        locks = self.folder / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        return FileLock(locks / name, timeout=timeout)

    def _is_finished(self, step: str, words: list[str]) -> bool:
        """Return whether a run with these words has finished; raise InputError if it was begun with others."""
        folder, facts = self.folder / step, self._facts(step)
        advice = f"remove {folder} and {facts}"
        if facts.is_file() and read_json(facts, advice, keys=("words", "seconds"))["words"] != words:
            raise InputError(f"{folder}: was begun with other settings (see {facts}); {advice}, or choose another one")
        begun = (folder / RECORD_FILE).is_file()
        return begun and bool(read_json(folder / RECORD_FILE, advice, keys=("finished",))["finished"])

    def _make(self, step: str, words: list[str]) -> None:
        """Run the command of a step, or let a command go on that was interrupted."""
        folder, facts, script = self.folder / step, self._facts(step), words[0]
        resumes = (folder / RECORD_FILE).is_file() and script in RESUMABLE
        if facts.is_file() and folder.exists() and not resumes:
            shutil.rmtree(folder)  # what an interrupted command left cannot be used
        say(f"=== {step}")
        self.commands += 1
        seconds = self.seconds(step) if facts.is_file() else 0.0
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

    def wait_for_others(self) -> None:
        """Sleep for a while, since other processes are making all that is left.

        Raises:
            OutOfTimeError: the time for this piece is over.
        """
        if self.stop is not None and time.monotonic() >= self.stop:
            raise OutOfTimeError
        time.sleep(PAUSE)

    def seconds(self, step: str) -> float:
        """Return the seconds that the step's command has run, all pieces together."""
        facts = self._facts(step)
        return float(read_json(facts, f"remove {facts}", keys=("seconds",))["seconds"])

    def _facts(self, step: str) -> Path:
        return self.folder / f"{step}.step.json"

    def _wait(self, words: list[str]) -> int:
        """Run a script with its flags, and return the exit code.

        If it outlasts this piece and can be resumed, it is asked to save a checkpoint and stop. A command that was
        still starting, and so could not hear this, counts as stopped too.
        """
        script, *flags = words
        with subprocess.Popen([sys.executable, str(SCRIPTS / f"{script}.py"), *flags]) as process:
            try:
                if self.stop is not None and script in RESUMABLE:
                    try:
                        return process.wait(max(0.0, self.stop - time.monotonic()))
                    except subprocess.TimeoutExpired:
                        process.send_signal(signal.SIGTERM)
                        code = process.wait()
                        return Preempted.CODE if code == -signal.SIGTERM else code
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
