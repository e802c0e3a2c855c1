"""Test that a resumed training ends with the model that it would have ended with, and reads no checkpoint unchecked."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
import sparse_material as material
from sparse_material import base, quiet
from transformers import set_seed

from bistil_ds.distributed import agreement
from bistil_ds.errors import InputError, Notice, OtherRankError
from bistil_ds.runs import checkpoints
from bistil_ds.runs.seals import Seals, write_seal
from bistil_ds.training.saving import resuming
from bistil_ds.tuning.stage import Stage

__all__ = ["base", "quiet"]

BEST = {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "greater_is_better": True}


def trainer(base: Path, folder: Path, **changes: Any) -> material.TagTrainer:
    """Return a trainer of four steps whose best model is that of step 2, because the loss falls."""
    args = material.arguments(folder, max_steps=4, eval_strategy="steps", eval_steps=2, **BEST, **changes)
    set_seed(3)  # for the head, which is new
    return material.factory()(material.load(base), args, None)


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, material.TagTrainer]:
    folder = tmp_path_factory.mktemp("run") / "out"
    whole = trainer(base, folder)
    whole.train()
    assert whole.state.best_model_checkpoint == str(folder / "checkpoint-2")
    return folder, whole


def test_a_run_that_was_moved_and_has_no_step_left_ends_with_its_best_model(
    base: Path, run: tuple[Path, material.TagTrainer], tmp_path: Path
) -> None:
    shutil.copytree(run[0], tmp_path / "moved")
    (run[0] / "checkpoint-2").rename(run[0] / "hidden")
    again = trainer(base, tmp_path / "moved")
    again.train(resume_from_checkpoint=True)
    (run[0] / "hidden").rename(run[0] / "checkpoint-2")
    assert again.state.global_step == 4
    assert again.state.best_model_checkpoint == str(tmp_path / "moved" / "checkpoint-2")
    weights = dict(run[1].model.named_parameters())
    assert all(parameter.equal(weights[name]) for name, parameter in again.model.named_parameters())


def test_a_step_keeps_its_rows(base: Path, run: tuple[Path, material.TagTrainer], tmp_path: Path) -> None:
    out = shutil.copytree(run[0], tmp_path / "out")
    with pytest.raises(InputError, match=r"2 rows in a step, but 4 in .*checkpoint-4, .*accumulation_steps 2 keeps it"):
        trainer(base, out, per_device_train_batch_size=2).train(resume_from_checkpoint="true")
    trainer(base, out, per_device_train_batch_size=2, gradient_accumulation_steps=2).train("true")
    write_seal(out / "checkpoint-4", world_size=1, best="checkpoint-2")  # an earlier version's has no number of rows
    again = trainer(base, out, per_device_train_batch_size=2)
    again.train(resume_from_checkpoint=checkpoints.Checked(out / "checkpoint-4"))


def test_a_run_that_was_killed_before_it_removed_old_checkpoints_removes_them_when_it_goes_on(
    base: Path, run: tuple[Path, material.TagTrainer], tmp_path: Path
) -> None:
    out = shutil.copytree(run[0], tmp_path / "out")
    shutil.copytree(out / "checkpoint-2", out / "checkpoint-1")
    trainer(base, out, save_total_limit=2).train(resume_from_checkpoint="true")
    assert [path.name for path in checkpoints.all_checkpoints(out)] == ["checkpoint-2", "checkpoint-4"]


def test_with_the_best_damaged_nothing_starts_over_the_checkpoints_that_need_it(
    base: Path, run: tuple[Path, material.TagTrainer], tmp_path: Path
) -> None:
    out = shutil.copytree(run[0], tmp_path / "out")
    (out / "checkpoint-2" / "model.safetensors").write_bytes(b"")
    again = trainer(base, out)
    needs = "checkpoint-4 needs checkpoint-2, the best so far: .*model.safetensors: not"
    with pytest.warns(Notice, match=needs), pytest.raises(InputError, match=f"{needs}.*move the checkpoints away"):
        again.train(resume_from_checkpoint="true")
    assert (out / "checkpoint-4" / "model.safetensors").is_file()


def test_the_best_model_is_checked_before_it_is_loaded(
    base: Path, run: tuple[Path, material.TagTrainer], tmp_path: Path
) -> None:
    out = shutil.copytree(run[0], tmp_path / "out")
    again = trainer(base, out)
    again.state.best_model_checkpoint = str(out / "checkpoint-2")
    write_seal(out / "checkpoint-2", b"the key of a stranger", world_size=1)
    with pytest.raises(InputError, match=r"the best model cannot be loaded: .*not signed with your key"):
        again._load_best_model()
    again.state.best_model_checkpoint = str(run[0] / "checkpoint-2")
    with pytest.raises(InputError, match=r"the best model cannot be loaded: .*is no checkpoint of the run in"):
        again._load_best_model()


def test_a_trainer_signs_with_the_key_of_its_arguments(base: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sixteen bytes or more")
    (tmp_path / "key").chmod(0o600)
    args = material.arguments(tmp_path / "out", max_steps=2)
    args.seal_key = str(tmp_path / "key")
    material.factory()(material.load(base), args, None).train()
    folder = tmp_path / "out" / "checkpoint-2"
    assert Seals(str(tmp_path / "key")).is_signed(folder)
    assert not Seals().is_signed(folder)


def fail(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_checkpoint_that_has_been_checked_is_not_hashed_again(
    base: Path, run: tuple[Path, material.TagTrainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(run[0], tmp_path / "out")
    monkeypatch.setattr(resuming, "find_checkpoint", fail)
    again = trainer(base, out)
    again.train(resume_from_checkpoint=checkpoints.Checked(out / "checkpoint-4"))
    assert again.state.global_step == 4


NO_SPACE = (OtherRankError, "rank 0: OSError: [Errno 28] No space left on device")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list to which everything is added that this rank tells the others."""
    found: list[Any] = []
    monkeypatch.setattr(agreement, "first_complaint", lambda complaint: found.append(complaint) or complaint)
    return found


def test_a_seal_that_cannot_be_written_stops_every_rank(
    base: Path, tmp_path: Path, told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "seal", fail)
    with pytest.raises(OSError, match="No space left"):
        trainer(base, tmp_path / "out").train()
    assert told[-1] == NO_SPACE


def test_a_model_that_cannot_be_written_stops_every_rank(
    base: Path, tmp_path: Path, told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trainer(base, tmp_path / "out")
    with monkeypatch.context() as full_disk:
        full_disk.setattr(one.model, "save_pretrained", fail)
        with pytest.raises(OSError, match="No space left"):
            one.save_model(str(tmp_path / "model"))
    assert told == [NO_SPACE]
    one.save_model(str(tmp_path / "model"))
    assert (tmp_path / "model" / "model.safetensors").is_file()
    monkeypatch.setattr(agreement, "first_complaint", lambda mine: NO_SPACE)  # as on another rank
    with pytest.raises(OtherRankError, match="rank 0: OSError"):
        one.save_model(str(tmp_path / "model"))


def test_checkpoints_that_cannot_be_removed_stop_every_rank(
    base: Path, tmp_path: Path, told: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stage, "is_done", lambda *_: True)
    monkeypatch.setattr(Stage, "remove_checkpoints", fail)
    with pytest.raises(OSError, match="No space left"):
        material.lottery(base, tmp_path / "out").train()
    assert told[-1] == NO_SPACE
