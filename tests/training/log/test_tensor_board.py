"""Test that a resumed run goes on in its TensorBoard log, with each step once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import TrainerControl, TrainerState, TrainingArguments

from bistil_ds.runs.record import RECORD_FILE
from bistil_ds.training.log.tensor_board import LOGS, RunTensorBoard


def log(folder: Path, steps: range, value: float, **state: Any) -> None:
    """Log `value` at each step, as a training does that goes on after `state.global_step` and is then killed."""
    args = TrainingArguments(output_dir=str(folder), report_to="none", use_cpu=True)
    now, callback = TrainerState(is_world_process_zero=True, **state), RunTensorBoard()
    callback.on_train_begin(args, now, TrainerControl())
    for step in steps:
        now.global_step = step
        callback.on_log(args, now, TrainerControl(), logs={"loss": value})
    _date_back(Path(str(callback.logging_dir)))


def _date_back(log: Path) -> None:
    """Rename the newest file of a log, so that the next one, begun in the same second, is read after it."""
    files = sorted(log.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime_ns)
    files[-1].rename(log / f"events.out.tfevents.{len(files):010}")


def shown(folder: Path) -> list[list[tuple[int, float]]]:
    """Return steps and values of the loss in each log of a folder."""
    found = []
    for path in sorted((folder / LOGS).iterdir()):
        read = EventAccumulator(str(path))
        read.Reload()
        found.append([(event.step, event.value) for event in read.Scalars("train/loss")])
    return found


def test_steps_after_the_checkpoint_are_logged_anew_and_those_before_stay(tmp_path: Path) -> None:
    log(tmp_path, range(1, 6), 1.0)
    rows = [{"loss": 1.0, "step": 2}, {"loss": 1.5, "step": 3}]
    log(tmp_path, range(4, 7), 2.0, global_step=3, log_history=rows)
    assert shown(tmp_path) == [[(1, 1.0), (2, 1.0), (3, 1.5), (4, 2.0), (5, 2.0), (6, 2.0)]]


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_its_log_anew(tmp_path: Path) -> None:
    (tmp_path / RECORD_FILE).write_text("{}")
    stage = tmp_path / "stage-1-full"
    for folder in (tmp_path, stage):
        log(folder, range(1, 4), 1.0)
        log(folder, range(1, 3), 2.0)
        assert shown(folder) == [[(1, 2.0), (2, 2.0)]]


def test_a_trainer_made_in_python_that_starts_anew_leaves_earlier_logs_alone(tmp_path: Path) -> None:
    log(tmp_path, range(1, 4), 1.0)
    (first,) = (tmp_path / LOGS).iterdir()
    first.rename(tmp_path / LOGS / "earlier")  # logs are named by the second
    log(tmp_path, range(1, 3), 2.0)
    assert sorted(map(len, shown(tmp_path))) == [2, 3]


def test_a_folder_that_the_environment_names_is_used_as_transformers_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(tmp_path, range(1, 4), 1.0)
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "mine"))
    log(tmp_path, range(3, 5), 2.0, global_step=2)
    assert shown(tmp_path) == [[(1, 1.0), (2, 1.0), (3, 1.0)]]
    assert list((tmp_path / "mine").iterdir())
