"""Test a classification head over any supported encoder: it is new where it must be and kept where it can be."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from pathlib import Path

import pytest
import torch
from launch import PROGRAMS, python_path, start_ranks
from student_models import KINDS, tiny_teacher
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from bistil_ds.errors import InputError
from bistil_ds.models.families import CLASSIFIER
from bistil_ds.tasks.heads import load_classifier

AUTO = [AutoModelForTokenClassification, AutoModelForSequenceClassification]
LABELS = ["x", "y", "z"]


def head(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if name.startswith(CLASSIFIER)}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write a masked language model with dropout in its configuration."""
    tiny_teacher(request.param, layers=2, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1).save_pretrained(
        tmp_path / request.param
    )
    return tmp_path / request.param


@pytest.fixture(autouse=True)
def _own_random_state() -> object:
    with torch.random.fork_rng():
        yield


@pytest.mark.parametrize("auto", AUTO)
def test_the_encoder_is_the_folders_and_the_new_head_follows_the_seed(auto: type, folder: Path) -> None:
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(load_classifier(auto, folder, LABELS))
    first, again, other = models
    assert same(first.state_dict(), again.state_dict())
    assert not same(head(first), head(other))
    encoder = AutoModelForMaskedLM.from_pretrained(folder).base_model.state_dict()
    ours = first.base_model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in encoder.items())
    assert first.config.id2label == dict(enumerate(LABELS))
    assert first.config.label2id == {"x": 0, "y": 1, "z": 2}
    assert first.dtype is torch.float32


@pytest.mark.parametrize("auto", AUTO)
def test_there_is_no_dropout_in_training_mode(auto: type, folder: Path) -> None:
    model = load_classifier(auto, folder, LABELS).train()
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)
    assert not [m for m in model.modules() if isinstance(m, torch.nn.Dropout) and m.p]


@pytest.mark.parametrize("auto", AUTO)
def test_a_finished_model_keeps_its_head_and_only_for_the_same_labels_in_the_same_order(
    auto: type, folder: Path, tmp_path: Path
) -> None:
    model = load_classifier(auto, folder, LABELS)
    model.save_pretrained(tmp_path / "finished")
    assert same(load_classifier(auto, tmp_path / "finished", LABELS).state_dict(), model.state_dict())
    for labels in (["y", "x", "z"], ["x", "y"], [*LABELS, "w"]):
        other = load_classifier(auto, tmp_path / "finished", labels)
        weights = [name for name in head(model) if name.endswith("weight")]
        assert not any(torch.equal(head(other)[name], head(model)[name]) for name in weights)
        assert other(input_ids=torch.tensor([[5, 6, 7]])).logits.shape[-1] == len(labels)
        encoder = model.base_model.state_dict()
        assert same(other.base_model.state_dict(), encoder)


def test_a_new_head_has_small_weights_and_no_bias(folder: Path, tmp_path: Path) -> None:
    load_classifier(AutoModelForTokenClassification, folder, LABELS).save_pretrained(tmp_path / "a")
    found = head(load_classifier(AutoModelForTokenClassification, tmp_path / "a", ["x", "y"]))
    assert not found[f"{CLASSIFIER}.bias"].any()
    assert found[f"{CLASSIFIER}.weight"].std() == pytest.approx(0.2, rel=0.5)  # the configuration's initializer_range


def test_a_bare_encoder_will_do(folder: Path, tmp_path: Path) -> None:
    AutoModelForMaskedLM.from_pretrained(folder).base_model.save_pretrained(tmp_path / "bare")
    model = load_classifier(AutoModelForTokenClassification, tmp_path / "bare", LABELS)
    encoder = AutoModel.from_pretrained(tmp_path / "bare").state_dict()
    assert all(torch.equal(value, encoder[name]) for name, value in model.base_model.state_dict().items())


def test_a_pooler_that_the_folder_lacks_is_the_identity_whatever_the_seed(tmp_path: Path) -> None:
    tiny_teacher("bert", layers=2).save_pretrained(tmp_path / "bert")
    model = load_classifier(AutoModelForSequenceClassification, tmp_path / "bert", LABELS)
    assert torch.equal(model.bert.pooler.dense.weight, torch.eye(32))
    assert not model.bert.pooler.dense.bias.any()
    assert load_classifier(AutoModelForTokenClassification, tmp_path / "bert", LABELS).bert.pooler is None


def test_weights_of_another_encoder_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    deeper = {**config, "num_hidden_layers": 3}
    if kinds := config.get("layer_types"):
        deeper["layer_types"] = [*kinds, kinds[0]]
    (folder / "config.json").write_text(json.dumps(deeper))
    with pytest.raises(InputError, match=r"lacks the encoder's weight .*layers?\.2\.") as error:
        load_classifier(AutoModelForTokenClassification, folder, LABELS)
    assert str(folder) in str(error.value)


def test_nothing_is_said_about_weights_left_out_on_purpose(folder: Path) -> None:
    said: list[str] = []
    listener = logging.Handler()
    listener.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("transformers.modeling_utils")
    logger.addHandler(listener)
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_warning()  # another test's library may have changed it
    try:
        load_classifier(AutoModelForTokenClassification, folder, LABELS)
        assert said == []
        AutoModelForTokenClassification.from_pretrained(folder)  # transformers' own loading, which reports the new head
        assert "LOAD REPORT" in said[0]
    finally:
        logger.removeHandler(listener)
        transformers_logging.set_verbosity(level)


@pytest.mark.slow
def test_zero3_brings_up_the_same_models(tmp_path: Path) -> None:
    pytest.importorskip("deepspeed")
    tiny_teacher("bert", layers=2).save_pretrained(tmp_path / "mlm")
    load_classifier(AutoModelForSequenceClassification, tmp_path / "mlm", LABELS).save_pretrained(tmp_path / "finished")
    for kind in ("modernbert", "eurobert"):
        tiny_teacher(kind, layers=2).save_pretrained(tmp_path / kind)
    headless = tiny_teacher("bert", layers=2, auto=AutoModel)
    headless.pooler = None
    headless.save_pretrained(tmp_path / "headless")
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = python_path()
    script = PROGRAMS / "heads_zero3.py"
    done = subprocess.run(
        [*start_ranks(2), str(script), str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("all task models are whole") == 2
