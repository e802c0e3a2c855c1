"""Define the flags of the claims benchmark, and plan its run. An example of the command:

    python benchmarks/claims.py --teacher MODEL --data_dir FOLDER --minutes 50

It makes the cells of the grid one after another, and stops after 50 minutes; the same command goes on. Without
--teacher and --data_dir the benchmark runs on the package's sample model and sample data.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from bistil_ds.benchmarking.claims.cells import check_comparable, row_of
from bistil_ds.benchmarking.claims.earlier import earlier_rows
from bistil_ds.benchmarking.claims.on_sample import SAMPLE, link_sample
from bistil_ds.benchmarking.claims.pipeline import Pipeline
from bistil_ds.benchmarking.claims.runner import BusyError, OutOfTimeError, Runner, StepError
from bistil_ds.benchmarking.claims.settings import SOURCE, Cell, Settings, read_settings
from bistil_ds.benchmarking.claims.speeds import command, read_speeds
from bistil_ds.benchmarking.harness.benchmark import Content, Job, Tell
from bistil_ds.benchmarking.harness.command import explain
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.console.terminal import say
from bistil_ds.errors import InputError
from bistil_ds.sample import sample_mmt

CONFIG = RESULTS.parent / "claims.yaml"
QUICK_STEPS = 4


@dataclass
class Flags:
    """Flags of the claims benchmark."""

    teacher: str | None = field(default=None, metadata=explain("Folder or hub id of the multilingual model."))
    data_dir: str | None = field(
        default=None, metadata=explain("Folder that the paths of texts and task data are relative to.")
    )
    config: str | None = field(
        default=None,
        metadata=explain("YAML with systems, tasks and grid; claims.yaml, or the sample's without --data_dir."),
    )
    latency: str | None = field(
        default=None, metadata=explain("Record of latency.py with the systems' times, taken on idle cores.")
    )
    records: list[str] = field(
        default_factory=list,
        metadata=explain("Records of the grid from other folders or machines; their cells are not made again."),
    )
    minutes: float | None = field(
        default=None, metadata=explain("Stop at a border after so many minutes; the same command goes on.")
    )
    quick: bool = field(default=False, metadata=explain("One seed, a few steps of each training."))
    output_dir: str = field(default="runs/claims", metadata=explain("Folder of all runs and of the record."))


def plan(flags: Flags) -> Job:
    """Check the flags and the settings, and plan the run.

    Raises:
        InputError: the settings or a record cannot be used, a file of the settings is missing, or --teacher
            or --data_dir is given alone.
    """
    if bool(flags.teacher) != bool(flags.data_dir):
        raise InputError("--teacher and --data_dir go together; without both, the embedded sample is used")
    if flags.minutes is not None and not flags.minutes > 0:
        raise InputError(f"--minutes {flags.minutes}: expected a number above 0")
    settings = read_settings(Path(flags.config) if flags.config else CONFIG if flags.data_dir else SAMPLE)
    if flags.data_dir:
        check_files(settings, Path(flags.data_dir))
    if flags.quick:
        settings = shortened(settings)
    speeds = read_speeds(Path(flags.latency), settings) if flags.latency else None
    earlier = earlier_rows(map(Path, flags.records), settings)

    def measure(result: ResultFile, tell: Tell) -> None:
        folder = Path(flags.output_dir) / ("quick" if flags.quick else "")
        runner = Runner(folder, flags.minutes)
        begin_record(result, settings, speeds, runner)
        data = Path(flags.data_dir) if flags.data_dir else link_sample(folder / "data")
        pipeline = Pipeline(settings, flags.teacher or str(sample_mmt()), data, runner)
        if fill(result, settings, pipeline, earlier) and speeds is None:
            say(f"speeds are missing: on an idle machine run {command(settings, folder)}")
            say("and give its record by --latency")

    return Job(torch.device("cpu"), measure, bar=False)


def begin_record(result: ResultFile, settings: Settings, speeds: Any, runner: Runner) -> None:
    """Let the record replace the one that is in the folder already, and fill in all but the rows.

    That may be of an earlier piece, or of another process that shares the grid. A record must not name folders of the
    machine, so paths in its arguments become names.
    """
    content = result.content
    content["command"] = [Path(word).name if "/" in word else word for word in content["command"]]
    content["arguments"] = {
        name: Path(value).name if isinstance(value, str) else value
        for name, value in content["arguments"].items()
        if name not in ("data_dir", "minutes")
    }
    content["arguments"]["records"] = [Path(record).name for record in content["arguments"]["records"]]
    content["roles"] = vars(settings.roles)
    content["systems"] = list(settings.systems)
    content["chance"] = {name: task.chance for name, task in settings.tasks.items()}
    content["speeds"] = speeds
    content["left"], content["failed"] = len(settings.cells()), []
    with runner.lock("begin"):
        if earlier := sorted(result.path.parent.glob(f"{result.path.stem[:-15]}*.json")):
            result.path = earlier[0]
        else:
            result.save()
    result.lock = runner.lock("record")


def fill(result: ResultFile, settings: Settings, pipeline: Pipeline, earlier: Mapping[Cell, Any]) -> bool:
    """Make cell after cell but those of `earlier` records, and save the record after each for which a command ran.

    The cells of a step that fails are left out, and the grid goes on. A cell that another process makes comes later.

    Returns:
        False if the time for this piece was over before the last cell.
    """
    content, cells, runner = result.content, settings.cells(), pipeline.runner
    rows: dict[Cell, Any] = dict(earlier)
    collect(content, settings, pipeline, rows)
    waiting = [cell for cell in cells if cell not in rows]
    while waiting:
        busy = []
        for cell in waiting:
            before = runner.commands
            try:
                pipeline.make(cell)
            except StepError as error:
                if str(error) not in content["failed"]:
                    content["failed"].append(str(error))
                continue
            except BusyError:
                busy.append(cell)
                continue
            except OutOfTimeError:
                collect(content, settings, pipeline, rows)
                return _stopped(cell, len(rows), len(cells))
            if runner.commands > before:
                collect(content, settings, pipeline, rows)
                result.save()
        if busy == waiting:
            try:
                runner.wait_for_others()
            except OutOfTimeError:
                collect(content, settings, pipeline, rows)
                return _stopped(busy[0], len(rows), len(cells))
        waiting = busy
    collect(content, settings, pipeline, rows)
    return True


def collect(content: dict[str, Any], settings: Settings, pipeline: Pipeline, rows: dict[Cell, Any]) -> None:
    """Add the rows of all cells that have finished, whichever process made them, and put the rows into the record.

    Raises:
        InputError: a cell cannot be compared with the others; the record stays as it was.
    """
    cells = settings.cells()
    with pipeline.runner.beginning_nothing():
        for cell in cells:
            if cell not in rows:
                with suppress(OutOfTimeError, StepError):
                    rows[cell] = row_of(cell, settings, pipeline.make(cell), pipeline.runner)
    ordered = [rows[cell] for cell in cells if cell in rows]
    check_comparable(ordered)
    content["rows"], content["left"] = ordered, len(cells) - len(ordered)


def _stopped(cell: Cell, done: int, total: int) -> bool:
    say(f"stopped after {done} of {total} cells, at {cell}; go on with the same command: {words()}")
    return False


def words() -> str:
    """Return the command line of this process."""
    return " ".join(["python", *sys.argv])


def check_files(settings: Settings, data: Path) -> None:
    """Raise InputError for the first file of the grid that is not in the data folder."""
    cells = settings.cells()
    names = [settings.text.format(language=language) for language in settings.languages]
    for task in dict.fromkeys(cell.task for cell in cells):
        found = settings.tasks[task]
        targets = dict.fromkeys(cell.target for cell in cells if cell.task == task)
        names += [*found.train, found.dev, *(found.test[language] for language in (SOURCE, *targets))]
    for name in names:
        if not (data / name).exists():
            raise InputError(f"--data_dir {data}: has no {name}, which the settings name")


def shortened(settings: Settings) -> Settings:
    """Return the settings with the first block of the grid, one seed, and at most QUICK_STEPS steps a training."""

    def short(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: min(each, QUICK_STEPS) if name.endswith("steps") else short(each) for name, each in value.items()}

    tasks = {
        name: replace(task, teacher=short(task.teacher), student=short(task.student))
        for name, task in settings.tasks.items()
    }
    systems = {
        name: replace(each, phase_1=short(each.phase_1), phase_2=short(each.phase_2))
        for name, each in settings.systems.items()
    }
    parts = {name: short(getattr(settings, name)) for name in ("phase_1", "head", "scratch")}
    block = {**settings.grid[0], "seeds": settings.grid[0]["seeds"][:1]}
    return replace(settings, tasks=tasks, systems=systems, grid=[block], resamples=50, **parts)


def failures(content: Content) -> list[str]:
    """Return a line for each step that failed."""
    return [*content.get("failed", ())]
