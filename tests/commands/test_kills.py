"""Test that a run which is killed ends with the files, logs and bits of a run that nothing stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.campaign import Whole, finish, kill_and_go_on
from faults.life import warm_up
from faults.places import Kill
from faults.runs import Run, write_texts_and_teacher
from faults.whole import differences
from torch.utils.tensorboard import SummaryWriter

RUN = Run("general", 1, None, "linear")  # the others are killed by `make test-faults`


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    write_texts_and_teacher(folder)
    warm_up()
    return folder


@pytest.fixture(scope="module")
def whole(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return finish(RUN, material, tmp_path_factory.mktemp("runs"))


def test_a_run_killed_inside_a_file_of_a_checkpoint_and_at_its_end_becomes_a_whole_one(
    material: Path, whole: Whole, tmp_path: Path
) -> None:
    model = (whole.run / "model.safetensors").stat().st_size
    inside = Kill("save", "inside", number=18, size=model // 2)  # not in the first checkpoint
    trial = kill_and_go_on(RUN, material, tmp_path, whole, [inside, Kill("end", "open", number=2)], "fast")
    assert trial.differences == []
    cut, last = trial.kills
    assert (cut["area"], last["area"]) == ("save", "end")
    assert Path(cut["file"]).parent.name == "checkpoint-4"
    assert cut["step"] == ["run", 3]
    assert last["step"] == ["run", 8]


def edit_json(path: Path, edit: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def log_again(run: Path) -> None:
    (log,) = (run / "runs").iterdir()
    with SummaryWriter(str(log)) as writer:
        writer.add_scalar("train/loss", 1.0, 6)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "bit": (lambda run: flip_a_bit(run / "model.safetensors"), "model.safetensors: other bytes"),
    "stuck lock": (lambda run: (run / ".lock").touch(), "only after kills: .lock"),
    "empty folder": (lambda run: (run / ".build-x").mkdir(), "only after kills: .build-x"),
    "lost file": (lambda run: (run / "kept_ids.json").unlink(), "missing after kills: kept_ids.json"),
    "second validation": (
        lambda run: edit_json(
            run / "checkpoint-9" / "trainer_state.json",
            lambda state: state["log_history"].append(state["log_history"][-1]),
        ),
        "checkpoint-9/trainer_state.json: /log_history: 13 entries for 12",
    ),
    "other loss": (
        lambda run: edit_json(
            run / "checkpoint-9" / "trainer_state.json", lambda state: state["log_history"][1].update({"aa/loss": 0.5})
        ),
        "checkpoint-9/trainer_state.json: /log_history/1/aa/loss: 0.5 for",
    ),
    "unfinished record": (
        lambda run: edit_json(run / "run.json", lambda record: record["results"].pop("steps")),
        "run.json: /results/steps is in one only",
    ),
    "logged twice": (log_again, "TensorBoard: runs-0/train/loss: steps [2, 3, 4, 6, 8, 9, 6] for [2, 3, 4, 6, 8, 9]"),
    "two logs": (
        lambda run: shutil.copytree(next((run / "runs").iterdir()), run / "runs" / "more"),
        "TensorBoard: runs-1/train/loss is in one only",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_a_kill_could_leave_is_found(whole: Whole, tmp_path: Path, damage: str) -> None:
    copy = shutil.copytree(whole.run, tmp_path / "run")
    do, line = DAMAGES[damage]
    do(copy)
    assert any(found.startswith(line) for found in differences(copy, whole.run))
