"""Test that a sentence encoder is an ordinary transformers model on any encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from student_models import KINDS, tiny_batches, tiny_teacher
from tiny import text_lines, write_teacher
from transformers import AutoModel, T5Config

from bistil_ds.embedding.encoder import SentenceEncoder
from bistil_ds.embedding.pooling import pool
from bistil_ds.embedding.settings import KEY, DenseLayer, SentenceSettings
from bistil_ds.embedding.vectors import encode
from bistil_ds.errors import InputError
from bistil_ds.models.with_head import family_class
from bistil_ds.tasks import find_task
from bistil_ds.tasks.models import load_task_model


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_gives_vectors_and_is_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    tiny_teacher(kind, layers=2).save_pretrained(tmp_path / "mlm")
    task = find_task("embed").configured(pooling=["mean"])
    model = task.load_model(tmp_path / "mlm", ()).eval()
    assert type(model).__name__.endswith("ForSentenceEmbedding")
    batch = next(tiny_batches(0))
    output = model(**batch, output_hidden_states=True)
    expected = pool(output.hidden_states[-1], batch["attention_mask"], ["mean"])
    torch.testing.assert_close(output.sentence_embedding, torch.nn.functional.normalize(expected, dim=-1))
    model.save_pretrained(tmp_path / "saved")
    again = SentenceEncoder.from_pretrained(tmp_path / "saved").eval()
    assert again.settings == SentenceSettings(("mean",))
    assert torch.equal(again(**batch).sentence_embedding, output.sentence_embedding)
    alone = AutoModel.from_pretrained(tmp_path / "saved").eval()  # without our code
    assert torch.equal(alone(**batch).last_hidden_state, output.hidden_states[-1])


def test_a_model_that_is_no_encoder_is_refused() -> None:
    with pytest.raises(InputError, match="no sentence encoder can be built on a T5Config model"):
        family_class(SentenceEncoder, T5Config)


def test_a_folder_that_does_not_say_how_it_pools_is_refused(tmp_path: Path) -> None:
    folder = write_teacher(tmp_path / "plain")
    with pytest.raises(InputError, match=f"--model {folder}: does not say how it pools its states; give"):
        load_task_model(str(folder), (), find_task("embed"))
    with pytest.raises(InputError, match="does not say how it makes vectors"):
        SentenceEncoder.from_pretrained(folder)


def test_dense_layers_of_another_width_are_refused(tmp_path: Path) -> None:
    model = tiny_teacher("bert", layers=1)
    setattr(model.config, KEY, SentenceSettings(dense=(DenseLayer(16, 8),)).as_dict())
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="dense layer 1 takes 16 values, but gets 32"):
        SentenceEncoder.from_pretrained(tmp_path)


def test_dense_layers_without_weights_are_refused(tmp_path: Path) -> None:
    model = tiny_teacher("bert", layers=1)
    setattr(model.config, KEY, SentenceSettings(dense=(DenseLayer(32, 8),)).as_dict())
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=f"{tmp_path}: lacks the weights of its dense layers"):
        find_task("embed").load_model(tmp_path, ())


def test_vectors_come_in_the_order_of_the_texts_whatever_the_batches_are(tmp_path: Path) -> None:
    loaded = load_task_model(str(write_teacher(tmp_path)), (), find_task("embed").configured(pooling=["cls"]))
    texts = text_lines("aa", 9)
    alone = np.concatenate([encode(loaded.model, loaded.tokenizer, [text]) for text in texts])
    np.testing.assert_allclose(encode(loaded.model, loaded.tokenizer, texts, batch_size=4), alone, atol=1e-6)
    assert encode(loaded.model, loaded.tokenizer, []).shape == (0, 32)
    cut = encode(loaded.model, loaded.tokenizer, texts[:1], max_length=3)
    assert not np.allclose(cut, alone[:1], atol=1e-3)


SETTINGS = SentenceSettings(("cls", "mean"), False, {"query": "q: "}, "query", 128, (DenseLayer(8, 4),))


def test_settings_are_kept_in_json() -> None:
    assert SentenceSettings.from_dict(SETTINGS.as_dict(), "here") == SETTINGS


@pytest.mark.parametrize(
    "changes",
    [
        {"pooling": "mean"},
        {"pooling": []},
        {"pooling": ["median"]},
        {"normalise": "yes"},
        {"prompts": ["query: "]},
        {"prompts": {"query": 3}},
        {"default_prompt": "other"},
        {"max_length": "long"},
        {"dense": [{"in_features": 3}]},
        {"dense": [{"in_features": 3, "out_features": 3, "activation": "Linear"}]},
        {"dense": 7},
        {"unknown": 1},
    ],
)
def test_settings_that_nobody_wrote_are_refused_with_their_place(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^here: "):
        SentenceSettings.from_dict({**SETTINGS.as_dict(), **changes}, "here")
