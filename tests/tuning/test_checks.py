"""Test the default length of a stage, and which models and flags a task command accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import DistilBertConfig, GPT2Config, PretrainedConfig, T5Config

from bistil_ds.commands import teacher
from bistil_ds.commands.tuning import with_sample
from bistil_ds.errors import InputError
from bistil_ds.sample.defaults import SAMPLE_TRAINING
from bistil_ds.sparse import SparseArguments
from bistil_ds.training.request import with_defaults
from bistil_ds.tuning.checks import limit_steps, longest_of
from bistil_ds.tuning.from_flags import flag_types, request_of
from bistil_ds.tuning.request import TuningRequest
from bistil_ds.tuning.student_tuning import StudentTuning
from bistil_ds.tuning.teacher_tuning import TeacherTuning

FILES = {"train_file": ["aa=train.txt"], "dev_file": ["aa=dev.txt"]}


def request(task: str, model: str = "mmt", **flags: Any) -> TuningRequest:
    batch = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    return request_of(TeacherTuning, model=model, task=task, **FILES, **batch, **flags)


def lengths(task: str, rows: int, **flags: Any) -> SparseArguments:
    return limit_steps(request(task, **flags), rows)


@pytest.mark.parametrize(("rows", "steps"), [(8000, None), (8001, 100_000)])  # 1,000 and 1,001 steps an epoch
def test_language_modelling_is_100_epochs_or_100_000_steps_whichever_is_fewer(rows: int, steps: int | None) -> None:
    found = lengths("mlm", rows)
    assert (found.full_epochs, found.sparse_epochs) == (100, 100)
    assert (found.full_max_steps, found.sparse_max_steps) == (steps, steps)


def test_ranks_share_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert lengths("mlm", 16_000).full_max_steps is None
    assert lengths("mlm", 16_001).full_max_steps == 100_000


@pytest.mark.parametrize(("rows", "steps"), [(8003, None), (8004, 100_000)])  # 1,000 and 1,001 steps an epoch
def test_rows_that_fill_no_batch_count_no_step_if_they_are_dropped(rows: int, steps: int | None) -> None:
    assert lengths("mlm", rows, dataloader_drop_last=True).full_max_steps == steps


def test_what_was_asked_for_stays() -> None:
    found = lengths("mlm", 10**6, full_epochs=100, sparse_max_steps=200_000)
    assert (found.full_max_steps, found.sparse_max_steps) == (None, 200_000)
    assert lengths("ner", 10**9).full_max_steps is None


@pytest.mark.parametrize("config", [T5Config(), GPT2Config(), DistilBertConfig()], ids=lambda config: config.model_type)
def test_a_model_that_is_no_encoder_we_know_the_sizes_of_is_refused(tmp_path: Path, config: PretrainedConfig) -> None:
    config.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=f"--model .*: is a {config.model_type} model; give an encoder"):
        longest_of(request("ner", str(tmp_path)))


@pytest.mark.parametrize(
    ("flag", "value"), [("learning_rate", "0"), ("full_epochs", "0"), ("density", "2"), ("full_l1", "-1")]
)
def test_on_the_sample_too_a_value_that_cannot_be_is_refused_before_anything_is_made(
    flag: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bistil_ds.commands.tuning.sample_task_file", lambda *_: pytest.fail("the sample was made"))
    assert teacher.main([f"--{flag}", value]) == 2
    assert f"error: --{flag} {value}" in capsys.readouterr().err


DENSE, RANDOM = "--dense trains every parameter, in one stage", "--selection random has no full stage"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        *(({name: value, "dense": True}, DENSE) for name, value in (("density", -4.0), ("k", 9), ("sparse_l1", 0.1))),
        *(({name: value, "dense": True}, DENSE) for name, value in (("iterations", 3), ("selection", "random"))),
        *(({name: 7, "dense": True}, DENSE) for name in ("full_epochs", "full_max_steps", "full_l1")),
        *(({name: 7, "selection": "random"}, RANDOM) for name in ("full_epochs", "full_max_steps", "full_l1")),
        ({"density": 0.5, "k": 9}, "--k is given"),
        ({"full_epochs": 2.0, "full_max_steps": 9}, "--full_max_steps is given"),
        ({"sparse_epochs": 2.0, "sparse_max_steps": 9, "dense": True}, "--sparse_max_steps is given"),
    ],
)
def test_a_flag_without_effect_beside_the_others_is_refused_unless_a_run_is_resumed(
    flags: dict[str, Any], reason: str
) -> None:
    name, value = next(iter(flags.items()))
    with pytest.raises(InputError, match=f"^--{name} {value}: has no effect: {reason}; leave it out$"):
        request("ner", **flags)
    request("ner", **flags, resume_from_checkpoint="true")


@pytest.mark.parametrize(
    ("task", "flags", "reason"),
    [
        ("ner", {"similarity_temperature": 0.2}, "the task has no such loss"),
        ("embed", {"temperature": 5.0}, "the task has no such loss"),
        ("ner", {"temperature": 5.0, "logit_weight": "0", "label_weight": "1"}, "--logit_weight is 0"),
        (
            "ner",
            {"published_losses": True, "hidden_weight": "0", "attention_weight": "0"},
            "--hidden_weight and --attention_weight are 0",
        ),
        ("embed", {"held_out": 7}, "--dev_file is given"),
    ],
)
def test_a_flag_of_phase_2_without_effect_is_refused(task: str, flags: dict[str, Any], reason: str) -> None:
    name, value = next(iter(flags.items()))
    with pytest.raises(InputError, match=f"^--{name} {value}: has no effect: {reason}; leave it out$"):
        request_of(StudentTuning, student="s", teacher_model="t", task=task, **FILES, **flags)


@pytest.mark.parametrize("given", [{"dense": True}, {"selection": "random"}, {"full_max_steps": 5}, {"density": 0.08}])
def test_the_samples_lengths_are_no_flags_of_the_user(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bistil_ds.commands.tuning.sample_task_file", lambda *_: "file")
    flags = with_defaults(flag_types(TeacherTuning), {"output_dir": str(tmp_path / "run"), **given})
    found = request_of(TeacherTuning, **{**with_sample(TeacherTuning, flags), "model": "m"})
    assert found.sparse.sparse_epochs == SAMPLE_TRAINING["sparse_epochs"]
