"""Test that ONNX files of each model family compute what the models do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from student_models import KINDS, VOCABULARY, tiny_batches, tiny_teacher
from tiny import unigram_tokenizer
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from bistil_ds.export.engines.onnx import export_onnx

CLOSE = 1e-4
# Model type → what else its configuration has: a window that hides tokens, and groups of keys.
CHANGES = {"modernbert": {"local_attention": 16}, "eurobert": {"num_key_value_heads": 2}}


@pytest.mark.slow
@pytest.mark.parametrize("auto", [AutoModelForTokenClassification, AutoModelForSequenceClassification])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_the_same_on_padded_batches_of_two_lengths(kind: str, auto: type, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = tiny_teacher(kind, layers=3, auto=auto, num_labels=5, **CHANGES.get(kind, {}))
    export_onnx(model, unigram_tokenizer(), tmp_path)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])

    def outputs(batch: dict[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            expected = model(**batch).logits.numpy()
        return expected, session.run(["logits"], {name: value.numpy() for name, value in batch.items()})[0]

    batch = next(tiny_batches(0, 1))
    assert (batch["attention_mask"] == 0).any()
    for length in (12, 7):
        cut = {name: value[:, :length] for name, value in batch.items()}
        expected, found = outputs(cut)
        np.testing.assert_allclose(found, expected, rtol=CLOSE, atol=CLOSE)
    mask_BT = (torch.arange(36) < torch.tensor([[36], [4]])).long()  # most padding sees no real token in a window
    ids_BT = torch.randint(5, VOCABULARY, (2, 36), generator=torch.Generator().manual_seed(1))
    expected, found = outputs({"input_ids": torch.where(mask_BT.bool(), ids_BT, 1), "attention_mask": mask_BT})
    real = mask_BT.numpy().astype(bool) if expected.ndim == 3 else slice(None)  # what padding gives means nothing
    np.testing.assert_allclose(found[real], expected[real], rtol=CLOSE, atol=CLOSE)
    other = {**batch, "input_ids": batch["input_ids"].roll(1, 0)}
    assert np.abs(outputs(other)[1] - outputs(batch)[1]).max() > 100 * CLOSE  # they depend on the input
