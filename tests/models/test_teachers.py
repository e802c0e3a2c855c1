"""Test which folders can be a teacher, what is said of them, and in which words the others are refused."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from student_models import KINDS, tiny_teacher
from tiny import unigram_tokenizer
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    T5Config,
    T5Model,
)

from bistil_ds.errors import InputError, Notice
from bistil_ds.models.families import FAMILIES, has_masked_lm_head
from bistil_ds.models.loading import load_teacher

TOKENIZER = unigram_tokenizer()
CODE = "configuration.NewConfig"
OF_GTE = {"AutoConfig": f"Alibaba-NLP/new-impl--{CODE}", "AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"}
OF_JINA = {"AutoConfig": "jinaai/xlm-roberta-flash-implementation--configuration_xlm_roberta.XLMRobertaFlashConfig"}


def write(folder: Path, kind: str, auto: type = AutoModelForMaskedLM, **changes: Any) -> PreTrainedModel:
    """Write a teacher of a model type with a tokenizer whose padding id is 1, and return the model."""
    model = tiny_teacher(kind, layers=2, auto=auto, **{"vocab_size": len(TOKENIZER), "pad_token_id": 1, **changes})
    model.save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return model


def configure(folder: Path, changes: Mapping[str, Any]) -> None:
    """Change values of a folder's `config.json`; None removes one."""
    content = {**json.loads((folder / "config.json").read_text()), **changes}
    (folder / "config.json").write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def said_of(folder: Path) -> tuple[PreTrainedModel, list[str]]:
    """Load a teacher; return the model and the notices, without the name of the folder."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, _ = load_teacher(folder, "--teacher_model")
    told = [str(one.message) for one in caught if one.category is Notice]
    assert all(line.startswith(f"--teacher_model {folder}: ") for line in told)
    return model, [line.removeprefix(f"--teacher_model {folder}: ") for line in told]


def refusal_of(folder: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError) as error:
            load_teacher(folder, "--teacher_model")
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"--teacher_model {folder}")
    return str(error.value)


def same(model: PreTrainedModel, other: PreTrainedModel) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_without_a_head_stays_one(kind: str, tmp_path: Path) -> None:
    made = write(tmp_path, kind, AutoModel)
    model, told = said_of(tmp_path)
    assert type(model) is type(made)
    assert not has_masked_lm_head(model)
    assert same(model, made)
    assert told == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("auto", [AutoModelForTokenClassification, AutoModelForSequenceClassification])
def test_the_head_of_a_task_is_dropped_and_told(kind: str, auto: type, tmp_path: Path) -> None:
    made = write(tmp_path, kind, auto)
    model, told = said_of(tmp_path)
    assert not has_masked_lm_head(model)
    assert same(model, made.base_model)
    (line,) = told
    assert "classifier" in line
    assert line.endswith(" is not used")


def test_pickled_weights_are_read_as_weights_only_and_told(tmp_path: Path) -> None:
    made = write(tmp_path, "bert")
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    model, told = said_of(tmp_path)
    assert same(model, made)
    assert told == ["has no safetensors file; its pickled weights are read as weights only, so no code runs"]


@pytest.mark.parametrize(
    ("kind", "changes", "native"),
    [
        ("gte", {"model_type": "new", "auto_map": OF_GTE}, "alibaba-nlp-community/gte-multilingual-base"),
        ("xlm-roberta", {"auto_map": OF_JINA}, "jinaai/jina-embeddings-v3-hf"),
        ("bert", {"auto_map": {"AutoModel": "somebody/code--modeling.Model"}}, "another model"),
    ],
    ids=["gte", "jina", "other"],
)
def test_code_of_its_own_is_refused_and_the_native_repository_named(
    kind: str, changes: dict[str, Any], native: str, tmp_path: Path
) -> None:
    write(tmp_path, kind, AutoModel)
    configure(tmp_path, changes)
    assert refusal_of(tmp_path).endswith(f": needs code of its own (auto_map), which is never run; give {native}")


def test_eurobert_needs_its_code_no_more(tmp_path: Path) -> None:
    made = write(tmp_path, "eurobert")
    configure(tmp_path, {"auto_map": {"AutoModel": "modeling_eurobert.EuroBertModel"}})
    assert same(said_of(tmp_path)[0], made)


def test_a_decoder_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "bert", is_decoder=True)
    assert "makes the bert model a decoder: give an encoder" in refusal_of(tmp_path)


def test_another_type_is_refused_and_ours_are_named(tmp_path: Path) -> None:
    small = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": len(TOKENIZER)}
    T5Model(T5Config(**small)).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    message = refusal_of(tmp_path)
    assert "no student can be built from a model of type 't5'" in message
    assert message.endswith(", ".join(FAMILIES))


def test_a_table_of_embeddings_smaller_than_the_tokenizer_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "modernbert", vocab_size=len(TOKENIZER) - 1)
    assert refusal_of(tmp_path).endswith(
        f": its tokenizer has {len(TOKENIZER)} tokens, its embeddings {len(TOKENIZER) - 1}"
    )


@pytest.mark.parametrize("rest", [[], ["tokenizer_config.json"]])
def test_a_folder_without_a_fast_tokenizer_is_refused(rest: list[str], tmp_path: Path) -> None:
    write(tmp_path, "modernbert")
    for path in tmp_path.glob("*token*"):
        if path.name not in rest:
            path.unlink()
    assert "tokenizer" in refusal_of(tmp_path)


@pytest.mark.parametrize(("kind", "padding"), [("bert", 1), ("modernbert", 1), ("xlm-roberta", 2)])
def test_the_tokenizers_padding_id_is_taken_unless_positions_start_after_it(
    kind: str, padding: int, tmp_path: Path
) -> None:
    write(tmp_path, kind)
    configure(tmp_path, {"pad_token_id": 2})
    assert load_teacher(tmp_path)[0].config.pad_token_id == padding


def test_mdeberta_has_its_head_under_the_first_codes_names(tmp_path: Path) -> None:
    """Its `config.json` names no class, and its folder the names of Microsoft's own code."""
    made = write(tmp_path, "deberta-v2")
    names = {
        "cls.predictions.transform.dense": "lm_predictions.lm_head.dense",
        "cls.predictions.transform.LayerNorm": "lm_predictions.lm_head.LayerNorm",
        "cls.predictions.bias": "lm_predictions.lm_head.bias",
    }
    weights = load_file(tmp_path / "model.safetensors")
    for name in list(weights):
        for ours, theirs in names.items():
            if name.startswith(ours):
                weights[name.replace(ours, theirs)] = weights.pop(name)
    weights["mask_predictions.dense.weight"] = torch.zeros(2, 2)
    weights["deberta.embeddings.word_embeddings._weight"] = torch.zeros(2, 2)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    configure(tmp_path, {"architectures": None})
    model, _ = said_of(tmp_path)
    assert has_masked_lm_head(model)
    assert same(model, made)


def test_a_deberta_of_another_build_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "deberta-v2")
    configure(tmp_path, {"legacy": False})
    assert "legacy is False in its config.json: set it to true, as for all deberta-v2" in refusal_of(tmp_path)


def test_a_folder_that_names_no_class_and_has_no_head_is_an_encoder_alone(tmp_path: Path) -> None:
    made = write(tmp_path, "bert", AutoModel)
    configure(tmp_path, {"architectures": None})
    model, _ = said_of(tmp_path)
    assert not has_masked_lm_head(model)
    assert same(model, made)
