"""Test what is read from the folders that sentence-transformers itself writes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import text_lines, write_xlmr

from bistil_ds.embedding.sentence_files import settings_of_folder
from bistil_ds.embedding.settings import DenseLayer, SentenceSettings
from bistil_ds.embedding.vectors import encode
from bistil_ds.errors import InputError
from bistil_ds.tasks import find_task
from bistil_ds.tasks.models import load_task_model

PROMPTS = {"query": "ba ke: ", "document": ""}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that sentence-transformers wrote: two poolings, two dense layers, prompts, 12 tokens at most."""
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    folder = tmp_path_factory.mktemp("published")
    write_xlmr(folder / "plain", "Model", layers=2)
    torch.manual_seed(0)
    words = Transformer(str(folder / "plain"), max_seq_length=12)
    layers = [Dense(64, 24), Dense(24, 16, bias=False, activation_function=torch.nn.Identity())]
    modules = [words, Pooling(32, ("cls", "mean")), *layers, Normalize()]
    SentenceTransformer(modules=modules, prompts=PROMPTS, default_prompt_name="query", device="cpu").save(
        str(folder / "model")
    )
    return folder / "model"


def test_the_settings_are_those_of_the_modules(published: Path) -> None:
    assert settings_of_folder(published) == SentenceSettings(
        pooling=("cls", "mean"),
        normalise=True,
        prompts=PROMPTS,
        default_prompt="query",
        max_length=12,
        dense=(DenseLayer(64, 24, activation="Tanh"), DenseLayer(24, 16, bias=False)),
    )


@pytest.mark.parametrize("prompt", [None, "", "ren vor "])
def test_the_vectors_are_those_of_sentence_transformers(published: Path, prompt: str | None) -> None:
    from sentence_transformers import SentenceTransformer

    texts = [*text_lines("aa", 5), "ba", " ".join(text_lines("bb", 6))]
    theirs = SentenceTransformer(str(published), device="cpu").encode(texts, prompt=prompt, convert_to_numpy=True)
    loaded = load_task_model(str(published), (), find_task("embed"))
    ours = encode(loaded.model, loaded.tokenizer, texts, prompt=prompt, batch_size=3)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_a_folder_that_is_saved_again_keeps_settings_and_vectors(published: Path, tmp_path: Path) -> None:
    loaded = load_task_model(str(published), (), find_task("embed"))
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    again = load_task_model(str(tmp_path), (), find_task("embed"))
    assert again.model.settings == loaded.model.settings
    texts = text_lines("aa", 4)
    assert np.array_equal(*(encode(one.model, one.tokenizer, texts) for one in (loaded, again)))


def write_folder(folder: Path, *kinds: str, pooling: dict[str, Any] | None = None, **dense: Any) -> str:
    listed = []
    for number, kind in enumerate(("Transformer", *kinds)):
        path = f"{number}_{kind}" if number else ""
        listed.append(
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        )
        (folder / path).mkdir(parents=True, exist_ok=True)
        content = {"Pooling": pooling or {}, "Dense": {"in_features": 8, "out_features": 4, **dense}}.get(kind, {})
        (folder / path / "config.json").write_text(json.dumps(content))
    (folder / "modules.json").write_text(json.dumps(listed))
    return str(folder)


def test_a_folder_of_an_older_version_is_read(tmp_path: Path) -> None:
    pooling = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True, "pooling_mode_lasttoken": True}
    folder = write_folder(tmp_path, "Pooling", "Dropout", "Dense", pooling=pooling)
    layers = (DenseLayer(8, 4, activation="Tanh"),)
    assert settings_of_folder(folder) == SentenceSettings(("cls", "lasttoken"), normalise=False, dense=layers)


def test_a_folder_without_modules_says_nothing(tmp_path: Path) -> None:
    assert settings_of_folder(tmp_path) is None


@pytest.mark.parametrize(
    ("kinds", "pooling", "dense", "expected"),
    [
        (["Dense", "Pooling"], {}, {}, "are Dense, Pooling; expected Pooling"),
        (["Pooling", "LayerNorm"], {}, {}, "are Pooling, LayerNorm; expected Pooling"),
        (["Normalize"], {}, {}, "are Normalize; expected Pooling"),
        (["Pooling"], {"include_prompt": False}, {}, "leaves the prompt out"),
        (["Pooling"], {"pooling_mode": "median"}, {}, "pooling .'median'. is not known"),
        (["Pooling", "Dense"], {}, {"use_residual": True}, "a Dense layer with a residual"),
        (["Pooling", "Dense"], {}, {"activation_function": "os.system"}, "activation 'system' .* is not known"),
        (["Pooling", "Dense"], {}, {"in_features": -1}, "has -1 values"),
        (["Pooling", "Dense"], {}, {"bias": "no"}, "bias of a dense layer is 'no'"),
    ],
)
def test_modules_that_are_not_known_are_refused(
    tmp_path: Path, kinds: list[str], pooling: dict[str, Any], dense: dict[str, Any], expected: str
) -> None:
    folder = write_folder(tmp_path, *kinds, pooling=pooling, **dense)
    with pytest.raises(InputError, match=f"--model {folder}: .*{expected}"):
        settings_of_folder(folder, "--model")
