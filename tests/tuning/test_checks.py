"""Test the default length of a stage, and which models a task command accepts."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from transformers import DistilBertConfig, GPT2Config, PretrainedConfig, T5Config

from bistil_ds.commands import teacher
from bistil_ds.errors import InputError
from bistil_ds.tasks import find_task
from bistil_ds.tuning.checks import cap_steps, fill_in, settle_length

OPEN = {"learning_rate": None, "full_epochs": None, "sparse_epochs": None, "full_max_steps": None}
OPEN |= {"sparse_max_steps": None}


def settled(task: str, rows: int, **given: float) -> argparse.Namespace:
    ns = argparse.Namespace(**{**OPEN, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, **given})
    fill_in(ns, find_task(task))
    cap_steps(ns, find_task(task), rows)
    return ns


@pytest.mark.parametrize(("rows", "steps"), [(8000, None), (8001, 100_000)])  # 1,000 and 1,001 steps an epoch
def test_language_modelling_is_100_epochs_or_100_000_steps_whichever_is_fewer(rows: int, steps: int | None) -> None:
    ns = settled("mlm", rows)
    assert (ns.full_epochs, ns.sparse_epochs) == (100, 100)
    assert (ns.full_max_steps, ns.sparse_max_steps) == (steps, steps)


def test_ranks_share_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert settled("mlm", 16_000).full_max_steps is None
    assert settled("mlm", 16_001).full_max_steps == 100_000


def test_what_was_asked_for_stays() -> None:
    ns = settled("mlm", 10**6, full_epochs=100, sparse_max_steps=200_000)
    assert (ns.full_max_steps, ns.sparse_max_steps) == (None, 200_000)
    assert settled("ner", 10**9).full_max_steps is None


@pytest.mark.parametrize("config", [T5Config(), GPT2Config(), DistilBertConfig()], ids=lambda config: config.model_type)
def test_a_model_that_is_no_encoder_we_know_the_sizes_of_is_refused(tmp_path: Path, config: PretrainedConfig) -> None:
    config.save_pretrained(tmp_path)
    ns = argparse.Namespace(model=str(tmp_path), max_length=None)
    with pytest.raises(InputError, match=f"--model .*: is a {config.model_type} model; give an encoder"):
        settle_length(ns, find_task("ner"), "model")


@pytest.mark.parametrize(
    ("flag", "value"), [("learning_rate", "0"), ("full_epochs", "0"), ("density", "2"), ("full_l1", "-1")]
)
def test_on_the_sample_too_a_value_that_cannot_be_is_refused_before_anything_is_made(
    flag: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bistil_ds.commands.tuning.sample_task_file", lambda *_: pytest.fail("the sample was made"))
    assert teacher.main([f"--{flag}", value]) == 2
    assert f"error: --{flag} {value}" in capsys.readouterr().err
