"""Test the lines that say what phase 1 leaves out with a teacher."""

from __future__ import annotations

import pytest
import tiny
from transformers import AutoConfig, AutoModel

from bistil_ds.models.left_out import left_out


@pytest.mark.parametrize(
    ("kind", "architecture", "lines"),
    [
        ("xlm-roberta", "XLMRobertaForMaskedLM", []),
        ("bert", "BertForPreTraining", []),
        ("modernbert", None, []),
        ("xlm-roberta", "XLMRobertaModel", ["logit and MLM losses: XLMRobertaModel has no masked-LM head"]),
        (
            "bert",
            "BertForTokenClassification",
            [
                "logit and MLM losses: BertForTokenClassification has no masked-LM head",
                "the head of BertForTokenClassification",
            ],
        ),
        (
            "deberta-v2",
            "DebertaV2ForMaskedLM",
            ["attention loss: the attention maps of deberta-v2 cannot be observed"],
        ),
    ],
)
def test_a_configuration_says_what_is_left_out(kind: str, architecture: str | None, lines: list[str]) -> None:
    config = AutoConfig.for_model(kind, architectures=architecture and [architecture])
    assert left_out(config) == lines


def test_a_model_says_what_is_left_out() -> None:
    model = tiny.xlmr(20, layers=1, width=8)
    assert left_out(model) == []
    assert left_out(AutoModel.from_config(model.config)) == [
        "logit and MLM losses: XLMRobertaModel has no masked-LM head"
    ]
