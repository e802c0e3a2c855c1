"""Test that the ONNX engine of the benchmarks computes what the model computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from bistil_ds.benchmarking.models.engines import make_runner


def tiny_encoder() -> BertModel:
    config = BertConfig(
        vocab_size=61,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
    )
    torch.manual_seed(0)
    return BertModel(config, add_pooling_layer=False).eval()


def test_the_onnx_engine_computes_what_the_model_computes_at_any_size() -> None:
    pytest.importorskip("onnxruntime")
    model = tiny_encoder()
    run: Any = make_runner(model, "onnx", torch.device("cpu"), threads=1)
    for rows, length in ((1, 5), (3, 40)):
        ids_BT = torch.randint(61, (rows, length), generator=torch.Generator().manual_seed(1))
        mask_BT = torch.ones_like(ids_BT)
        mask_BT[0, length // 2 :] = 0
        batch = {"input_ids": ids_BT, "attention_mask": mask_BT}
        with torch.no_grad():
            expected_BTD = model(**batch).last_hidden_state
        (found_BTD,) = run(batch)
        assert found_BTD.shape == expected_BTD.shape
        assert (torch.from_numpy(found_BTD) - expected_BTD).abs().max() <= 1e-4 * expected_BTD.abs().max()
