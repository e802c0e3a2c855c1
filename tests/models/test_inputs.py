"""Test what is read from the configuration of a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from student_models import KINDS, tiny_teacher
from tiny import write_teacher
from tokenizers import Tokenizer
from transformers import (
    BertConfig,
    DistilBertConfig,
    LlamaConfig,
    MBartConfig,
    PretrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
    XLMRobertaXLConfig,
)

from bistil_ds.errors import InputError
from bistil_ds.models import inputs
from bistil_ds.models.families import OTHERS_AFTER_PADDING
from bistil_ds.models.inputs import cannot_load, is_encoder, load_tokenizer, longest_input


@pytest.mark.parametrize(
    ("config", "encoder"),
    [
        (BertConfig(), True),
        (XLMRobertaConfig(), True),
        (XLMRobertaXLConfig(), True),
        (LlamaConfig(), False),
        (MBartConfig(), False),
        (DistilBertConfig(), False),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)
def test_only_encoders_are_encoders(config: PretrainedConfig, encoder: bool) -> None:
    assert is_encoder(config) == encoder


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        (BertConfig(max_position_embeddings=512, pad_token_id=None), 512),
        (RobertaConfig(max_position_embeddings=514, pad_token_id=1), 512),
        (RobertaConfig(max_position_embeddings=513, pad_token_id=None), 512),
        (XLMRobertaConfig(max_position_embeddings=514, pad_token_id=1), 512),
    ],
)
def test_the_longest_input_is_known_without_a_padding_id_too(config: PretrainedConfig, longest: int) -> None:
    assert longest_input(config) == longest


ROTARY = ("modernbert", "eurobert", "gte", "jina_embeddings_v3")
# what some types need beside the sizes
NEEDED = {"luke": {"entity_vocab_size": 10}, "xmod": {"default_language": "en_XX"}}


@pytest.mark.parametrize("kind", sorted({*KINDS, *OTHERS_AFTER_PADDING}))
def test_the_longest_input_is_the_longest_that_a_model_takes(kind: str) -> None:
    model = tiny_teacher(kind, layers=1, max_position_embeddings=10, **NEEDED.get(kind, {}))
    longest = longest_input(model.config)
    assert model(torch.full((1, longest), 5)).logits.shape[1] == longest
    if kind in ROTARY:  # their positions have no end; the configuration states how far the model was trained
        assert longest == 10
        return
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, longest + 1), 5))


@pytest.mark.parametrize("flag", ["--model", ""])
def test_a_folder_without_a_tokenizer_is_refused(flag: str, tmp_path: Path) -> None:
    tiny_teacher("xlm-roberta", layers=1).save_pretrained(tmp_path)
    with pytest.raises(InputError) as refusal:
        load_tokenizer(flag, tmp_path)
    assert str(refusal.value) == f"{flag} {tmp_path}: holds no tokenizer; add its tokenizer.json".lstrip()


@pytest.mark.parametrize("types", [1, 2])
def test_loading_leaves_a_tokenizers_own_settings(tmp_path: Path, types: int) -> None:
    write_teacher(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"type_vocab_size": types}))
    backend = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    backend.enable_truncation(7)
    backend.enable_padding(length=7)
    backend.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer("--model", tmp_path).backend_tokenizer
    assert (loaded.truncation, loaded.padding) == (backend.truncation, backend.padding)


def test_a_closed_file_is_named_if_models_are_loaded_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs.os, "access", lambda path, _: False)
    (tmp_path / "notes.txt").touch()
    assert str(cannot_load("--model", str(tmp_path), ValueError("no type"))).endswith(
        "no type; give a model folder or a hub id"
    )
    (tmp_path / "config.json").touch()
    assert str(cannot_load("", str(tmp_path), ValueError("no type"))).startswith(
        f"{tmp_path / 'config.json'}: cannot be"
    )


@pytest.mark.parametrize(("kind", "first"), [("gte", "5.18"), ("eurobert", "5.17")])
def test_a_family_that_this_transformers_lacks_is_named_with_the_first_that_has_it(
    kind: str, first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is that of transformers 5.17 for a gte model.

    transformers may put a second module of its own in place of the first, so this patches the one that the code has.
    """
    message = f"The checkpoint you are trying to load has model type `{kind}` but Transformers does not recognize this"
    monkeypatch.setattr(inputs.transformers, "__version__", "5.16.2")
    error = cannot_load("--teacher_model", str(tmp_path), ValueError(message))
    says = f"transformers 5.16.2 does not know {kind} models; install {first} or newer"
    assert str(error) == f"--teacher_model {tmp_path}: {says}"
