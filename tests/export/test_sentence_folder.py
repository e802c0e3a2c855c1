"""Test that sentence-transformers itself loads an exported sentence encoder, and gives the vectors of this package."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from export_folders import export, header
from random_sfts import random_sft
from student_models import KINDS, tiny_teacher
from tiny import text_lines, unigram_tokenizer
from transformers import AutoModel

from bistil_ds import export_model
from bistil_ds.commands.export import main
from bistil_ds.embedding.encoder import SentenceEncoder
from bistil_ds.embedding.pooling import MODES
from bistil_ds.embedding.sentence_files import settings_of_folder
from bistil_ds.embedding.settings import DenseLayer, SentenceSettings
from bistil_ds.embedding.vectors import encode
from bistil_ds.models.weight_files import hash_weights
from bistil_ds.tasks import find_task
from bistil_ds.tasks.embed.embed import SentenceEmbedding
from bistil_ds.tasks.models import load_task_model

SentenceTransformer: Any = pytest.importorskip("sentence_transformers").SentenceTransformer
CLOSE = 1e-5
TEXTS = ["", "ba", *text_lines("aa", 5, seed=8), *text_lines("bb", 5, seed=9), " ".join(text_lines("aa", 9)), " ev\t. "]
E5 = {"query": "ba: ", "passage": "ke lo: "}
DENSE = (DenseLayer(32, 24, True, "Tanh"), DenseLayer(24, 40, False, "GELU"))
SETTINGS = {
    "last": SentenceSettings(("lasttoken",), normalise=False, similarity="dot"),
    "all": SentenceSettings(tuple(MODES)),
    "two in another order": SentenceSettings(("mean", "cls"), normalise=False),
    "dense": SentenceSettings(("mean",), dense=DENSE, max_length=20),
    "prompts": SentenceSettings(("mean",), prompts=E5, default_prompt="query", max_length=16),
}


def write_encoder(folder: Path, settings: SentenceSettings, kind: str = "xlm-roberta") -> Path:
    """Write a random sentence encoder with its tokenizer, as this package saves one; return `folder`."""
    tokenizer = unigram_tokenizer()
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 80, "sentence": settings.as_dict()}
    model = tiny_teacher(kind, layers=2, auto=AutoModel, **sizes, **({"pad_token_id": 1} if kind == "bert" else {}))
    model.save_pretrained(folder / "encoder")
    encoder = SentenceEncoder.from_pretrained(folder / "encoder")
    for layer in encoder.dense:
        torch.nn.init.normal_(layer.weight, std=0.3)
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def exported(folder: Path, settings: SentenceSettings, kind: str = "xlm-roberta") -> tuple[Any, Any]:
    """Return what this package loads from a folder, and what sentence-transformers loads from the export of it."""
    before = write_encoder(folder / "model", settings, kind)
    after = export_model(before, task="embed", output_dir=folder / "exported")
    return load_task_model(str(before), task=find_task("embed")), SentenceTransformer(str(after), device="cpu")


def check(loaded: Any, theirs: Any, texts: Sequence[str] = TEXTS) -> None:
    ours_NE = encode(loaded.model, loaded.tokenizer, texts, batch_size=4)
    theirs_NE = theirs.encode(list(texts), batch_size=5)
    assert theirs_NE.shape == ours_NE.shape
    np.testing.assert_allclose(theirs_NE, ours_NE, rtol=CLOSE, atol=CLOSE)
    assert np.abs(ours_NE - ours_NE[:1]).max() > 1000 * CLOSE  # the texts differ


@pytest.mark.filterwarnings("error::FutureWarning")
@pytest.mark.parametrize("name", list(SETTINGS))
def test_every_way_to_make_vectors_is_kept(name: str, tmp_path: Path) -> None:
    settings = SETTINGS[name]
    loaded, theirs = exported(tmp_path, settings)
    check(loaded, theirs)
    again = load_task_model(str(tmp_path / "exported"), task=find_task("embed"))
    check(again, theirs)
    assert again.model.settings.pooling == settings.pooling
    assert again.model.settings.dense == settings.dense
    assert theirs.similarity_fn_name == settings.similarity
    assert settings_of_folder(tmp_path / "exported").similarity == settings.similarity
    assert theirs.get_embedding_dimension() == settings.dimension(32)


def test_prompts_and_the_longest_input_are_kept(tmp_path: Path) -> None:
    loaded, theirs = exported(tmp_path, SETTINGS["prompts"])
    assert theirs.max_seq_length == 16
    for prompt, found in (
        ("", theirs.encode(TEXTS, prompt="")),
        ("ba: ", theirs.encode_query(TEXTS)),
        ("ke lo: ", theirs.encode_document(TEXTS)),
        ("ke lo: ", theirs.encode(TEXTS, prompt_name="passage")),
        ("ba: ", theirs.encode(TEXTS)),
    ):
        ours_NE = encode(loaded.model, loaded.tokenizer, TEXTS, prompt=prompt)
        np.testing.assert_allclose(found, ours_NE, rtol=CLOSE, atol=CLOSE)


def test_texts_are_cut_at_the_longest_input(tmp_path: Path) -> None:
    _, theirs = exported(tmp_path, SETTINGS["prompts"])
    long = " ".join(TEXTS)
    np.testing.assert_allclose(theirs.encode(long), theirs.encode(f"{long} {long}"), rtol=CLOSE, atol=CLOSE)


def test_the_folder_names_nothing_of_ours(tmp_path: Path) -> None:
    exported(tmp_path, SETTINGS["dense"])
    folder = tmp_path / "exported"
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["XLMRobertaModel"]
    assert "auto_map" not in config
    modules = json.loads((folder / "modules.json").read_text())
    assert [module["path"] for module in modules] == ["", "1_Pooling", "2_Dense", "3_Dense", "4_Normalize"]
    assert all(module["type"].startswith("sentence_transformers.models.") for module in modules)
    model, info = transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert all(torch.isfinite(weight).all() for weight in model.parameters())


def test_an_exported_encoder_can_be_exported_again(tmp_path: Path) -> None:
    exported(tmp_path, SETTINGS["dense"])
    export_model(tmp_path / "exported", task="embed", output_dir=tmp_path / "again")
    for path in (tmp_path / "exported").rglob("*"):
        if path.is_file() and path.name not in ("run.json", "README.md"):
            assert (tmp_path / "again" / path.relative_to(tmp_path / "exported")).read_bytes() == path.read_bytes()


def test_the_card_is_one_of_sentence_transformers(tmp_path: Path) -> None:
    exported(tmp_path, SETTINGS["prompts"])
    card = (tmp_path / "exported" / "README.md").read_text()
    metadata = header(card)
    assert metadata["library_name"] == "sentence-transformers"
    assert metadata["pipeline_tag"] == "sentence-similarity"
    assert {"sentence-transformers", "sentence-similarity", "feature-extraction"} <= set(metadata["tags"])
    assert "32 values" in card
    assert 'query `"ba: "`' in card
    assert "encode_query" in card


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_encoders_of_other_families_are_kept(kind: str, tmp_path: Path) -> None:
    check(*exported(tmp_path, SETTINGS["all"], kind))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("bert", "xlm-roberta", "modernbert")])
def test_so_are_those_of_all_families(kind: str, tmp_path: Path) -> None:
    check(*exported(tmp_path, SETTINGS["all"], kind))


def test_a_fine_tuning_of_the_task_is_merged(student: Path, tmp_path: Path) -> None:
    settings = SentenceSettings(("mean",), prompts=E5, dense=(DenseLayer(16, 24),), max_length=30)
    model = SentenceEmbedding(settings).load_model(student, ())
    facts = {"base_model": str(student), "base_hash": hash_weights(student), "languages": ["en", "ha"]}
    random_sft(model, 0, **facts, task="embed", labels=[], sentence=settings.as_dict()).save(tmp_path / "sft")
    assert export(student, [tmp_path / "sft"], tmp_path / "out") == 0
    loaded = load_task_model(str(student), [str(tmp_path / "sft")])
    check(loaded, SentenceTransformer(str(tmp_path / "out"), device="cpu"))
    check(
        load_task_model(str(tmp_path / "out"), task=find_task("embed")),
        SentenceTransformer(str(tmp_path / "out")),
    )


def test_flags_say_how_a_model_without_files_makes_vectors(
    student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", str(student), "--task", "embed", "--output_dir", str(tmp_path / "out")]
    assert main(words) == 2
    assert "does not say how it pools its states; give it with --pooling" in capsys.readouterr().err
    assert main([*words, "--pooling", "max", "--prompt", "query=ba: "]) == 0
    theirs = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    check(load_task_model(str(tmp_path / "out"), task=find_task("embed")), theirs)
    assert theirs.prompts["query"] == "ba: "
    assert "normalize" in str(theirs[-1]).lower()
    words[-1] = str(tmp_path / "longer")
    assert main([*words, "--normalise", "false"]) == 2
    assert "--normalise false: goes with --pooling" in capsys.readouterr().err
    assert main([*words, "--pooling", "max", "--normalise", "false"]) == 0
    assert settings_of_folder(tmp_path / "longer").normalise is False
