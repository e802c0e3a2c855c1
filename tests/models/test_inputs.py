"""Test what is read from the configuration of a model."""

from __future__ import annotations

import pytest
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

from bistil_ds.models.inputs import is_encoder, longest_input


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
