"""Test, for every flag of every command, that a resume refuses it or that the new value counts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import tiny
from transformers import TrainingArguments

from bistil_ds.distillation import preparation
from bistil_ds.distillation.from_flags import FLAGS, request_of
from bistil_ds.distillation.preparation import PreparedRun, prepare
from bistil_ds.distillation.request import DistillationRequest
from bistil_ds.errors import InputError, Notice
from bistil_ds.runs import checkpoints
from bistil_ds.runs.record import check_same_run
from bistil_ds.runs.seals import Seals
from bistil_ds.training.flags.inherited import DECIDES, MAY_CHANGE, NO_EFFECT, by_name
from bistil_ds.training.flags.resuming import SEALED, fixed_flags
from bistil_ds.tuning.from_flags import flag_types
from bistil_ds.tuning.student_tuning import StudentTuning
from bistil_ds.tuning.teacher_tuning import TeacherTuning

COMMANDS: dict[str, tuple[tuple[type, ...], Mapping[str, tuple[str, ...]]]] = {
    "general": (FLAGS, preparation.MAY_CHANGE),
    "teacher": (flag_types(TeacherTuning), {}),
    "task": (flag_types(StudentTuning), {}),
}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder, 120)
    tiny.write_teacher(folder / "teacher", layers=2, width=16)
    return folder


def request(material: Path, **flags: Any) -> DistillationRequest:
    given: dict[str, Any] = {
        "teacher_model": material / "teacher",
        "source_file": material / "aa.txt",
        "target_file": material / "bb.txt",
        "source_language": "aa",
        "target_language": "bb",
        "max_length": 32,
        "report_to": "none",
    }
    return request_of(**{**given, **flags})


@pytest.fixture(scope="module")
def begun(material: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedRun:
    """Prepare a run of one epoch on two ranks, under ZeRO-1."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", "2")
        patch.setenv("BISTIL_CACHE", str(material / "cache"))
        folder = tmp_path_factory.mktemp("runs") / "run"
        return prepare(request(material, output_dir=str(folder), num_train_epochs=1.0, deepspeed="zero1"))


def resumed(material: Path, run: PreparedRun, **flags: Any) -> PreparedRun:
    given: dict[str, Any] = {"output_dir": str(run.folder), "num_train_epochs": 1.0, "deepspeed": "zero1"}
    given["per_device_train_batch_size"] = 16  # on one rank, where it began with 8 on two
    return prepare(request(material, **{**given, "resume_from_checkpoint": "true", **flags}))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_that_a_table_does_not_free_is_refused_with_both_values(command: str, tmp_path: Path) -> None:
    kinds, may_change = COMMANDS[command]
    names = [one.name for kind in kinds for one in fields(kind) if one.init]
    free = {name for table in (MAY_CHANGE, NO_EFFECT, SEALED, may_change) for name in by_name(table)}
    assert set(by_name(may_change)) <= set(names)
    fixed = fixed_flags(kinds, may_change)
    assert fixed == set(names) - free
    assert fixed >= set(by_name(DECIDES)) - free
    for name in names:
        given, recorded = {name: "the new one"}, {name: "the old one"}
        wanted = sorted({name} & fixed)
        if name in free:
            check_same_run(given, recorded, wanted, tmp_path)
            continue
        with pytest.raises(InputError, match=f"--{name} the new one: the run in .* was started with the old one"):
            check_same_run(given, recorded, wanted, tmp_path)


def test_another_number_of_ranks_resumes_where_a_step_keeps_its_rows(material: Path, begun: PreparedRun) -> None:
    for batch, accumulation in ((16, 1), (8, 2)):
        flags = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
        again = resumed(material, begun, **flags).request.training
        assert again["max_steps"] == begun.request.training["max_steps"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"learning_rate": 1e-3}, "--learning_rate 0.001: the run in .* was started with 0.0001"),
        ({"lr_scheduler_type": "cosine"}, "--lr_scheduler_type cosine: .* started with linear"),
        ({"warmup_steps": 3}, "--warmup_steps 3: .* started with 0"),
        ({"optim": "sgd"}, "--optim sgd: .* started with adamw"),
        ({"num_train_epochs": 2.0}, "--num_train_epochs 2.0: .* started with 1.0"),
        ({"num_train_epochs": None, "max_steps": 9}, "--max_steps 9: .* started with"),
        ({"deepspeed": "zero0"}, "--deepspeed .*zero0.json: is at ZeRO stage 0, but .* was started at ZeRO stage 1"),
        ({"deepspeed": None}, "is without DeepSpeed, but the run in .* was started at ZeRO stage 1"),
        ({"teacher_dtype": "float16"}, "--teacher_dtype float16: .* started with auto"),
        ({"vocab_size": 50}, "--vocab_size 50"),
        ({"per_device_train_batch_size": 8}, "8 rows in a step, but 16 in .*; --gradient_accumulation_steps 2 keeps"),
        ({"gradient_accumulation_steps": 2}, "32 rows in a step, but 16 in .*; --gradient_accumulation_steps 1 keeps"),
    ],
)
def test_what_the_checkpoint_decides_is_refused(
    flags: dict[str, Any], message: str, material: Path, begun: PreparedRun
) -> None:
    with pytest.raises(InputError, match=message):
        resumed(material, begun, **flags)


def test_another_zero_stage_that_divides_goes_on_and_is_told(material: Path, begun: PreparedRun) -> None:
    with pytest.warns(Notice, match=r"goes on at ZeRO stage 3; it was started at ZeRO stage 1"):
        resumed(material, begun, deepspeed="zero3")


@pytest.mark.parametrize("steps", ["7", 0, None])
def test_recorded_steps_that_are_no_number_of_steps_are_refused(
    material: Path, begun: PreparedRun, tmp_path: Path, steps: Any
) -> None:
    record = begun.folder / "run.json"
    before = record.read_text(encoding="utf-8")
    content = json.loads(before)
    content["arguments"]["max_steps"] = steps
    try:
        record.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(InputError, match=f"run.json: max_steps is {steps!r}"):
            resumed(material, begun)
    finally:
        record.write_text(before, encoding="utf-8")


def test_recorded_steps_must_be_those_of_the_checkpoint(material: Path, begun: PreparedRun) -> None:
    folder = begun.folder / "checkpoint-1"
    folder.mkdir()
    try:
        (folder / "trainer_state.json").write_text('{"max_steps": 3}', encoding="utf-8")
        checkpoints.seal(folder, 2, Seals())
        with pytest.raises(InputError, match=r"checkpoint-1: of a run of 3 steps, where run.json says"):
            resumed(material, begun)
    finally:
        shutil.rmtree(folder)


def test_what_does_not_touch_the_weights_may_change(material: Path, begun: PreparedRun) -> None:
    changed: dict[str, Any] = {"logging_steps": 7, "eval_steps": 30, "save_steps": 30, "report_to": "tensorboard"}
    changed["kernels"] = "torch"
    values = resumed(material, begun, **changed, disable_tqdm=True, dataloader_num_workers=1).request.training.values
    assert {name: values[name] for name in changed} == changed


def test_a_run_of_an_earlier_version_resumes(material: Path, tmp_path: Path) -> None:
    run = prepare(request(material, output_dir=str(tmp_path / "run"), max_steps=9))
    record = run.folder / "run.json"
    text = record.read_text(encoding="utf-8")
    assert '"num_train_epochs": null' in text
    old = text.replace('"num_train_epochs": null', '"num_train_epochs": 3.0').replace('"zero_stage": null', '"x": 1')
    assert '"rows_of_step": 8' in old
    old = old.replace('"rows_of_step": 8', '"y": 1')
    record.write_text(old, encoding="utf-8")
    resumed(material, run, num_train_epochs=None, max_steps=9, deepspeed=None)  # with another batch, too


def test_the_fields_that_transformers_has_are_all_of_a_command() -> None:
    for kinds, _ in COMMANDS.values():
        names = {one.name for kind in kinds for one in fields(kind) if one.init}
        assert names >= {one.name for one in fields(TrainingArguments) if one.init}
