"""Test that what others wrote stays text on the card of a trimmed model."""

from __future__ import annotations

import ast

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from bistil_ds.errors import InputError
from bistil_ds.trimming.agreement import Agreement
from bistil_ds.trimming.card import trimmed_card
from bistil_ds.trimming.record import TrimRecord, read_trim_record
from bistil_ds.vocabulary.report import Segmentation, Size, TrimReport

HOSTILE = {
    "HTML": "<img src=x onerror=alert(1)>",
    "heading": "\n\n# Buy this\n\n",
    "front matter": "\n---\nlicense: mit\n---\n",
    "link": "[x](http://evil.example)",
    "code": '"); import os; ("',
    "fence": "\n```\n\n```python\nimport os\n```\n",
    "cells": "a | b |\n| c | d |\n|---|---|",
    "control": "\x1b[2J\u202eevil\0",
}


def record(text: str) -> TrimRecord:
    segmentations = {"aa": Segmentation(10, 1.5, 1.625, 0.0, 0.01, 0.9), text: Segmentation(0, 0.0, 0.0, 0.0, 0.0, 0.0)}
    report = TrimReport(Size(100, 1000, 4000), Size(60, 900, 3600), segmentations)
    agreement = {"aa": Agreement(10, 9, 0.0), text: Agreement(0, 0, None)}
    return TrimRecord(text, "0" * 64, f"--coverage {text}", 64, text, report, agreement)


def card_of(text: str) -> ModelCard:
    return ModelCard(str(trimmed_card(record(text), text, "BertForMaskedLM", {text: text}, False)))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_whatever_others_wrote_stays_text(text: str) -> None:
    """Compare the parsed card with a plain one: no place may turn text into markup."""
    plain, card = card_of("name"), card_of(f"name{text}")
    assert card.data.language == ["aa"]
    parsed, expected = (MarkdownIt().enable("table").parse(each.text) for each in (card, plain))
    assert [token.type for token in parsed] == [token.type for token in expected]
    inside = {child.type for token in parsed for child in token.children or []}
    assert inside <= {"text", "text_special", "code_inline", "softbreak"}
    (code,) = [token.content for token in parsed if token.type == "fence"]
    calls = [each.value for each in ast.parse(code).body if isinstance(each, ast.Assign)]
    assert [call.args[0].value for call in calls] == [f"name{text}"] * 2  # type: ignore[attr-defined]


def test_a_record_survives_the_disk_and_a_broken_one_is_named(tmp_path) -> None:
    written = record("name")
    written.write(tmp_path)
    assert read_trim_record(tmp_path) == written
    path = tmp_path / "trimming.json"
    path.write_text(path.read_text().replace('"texts": 10', '"texts": 10, "more": 1'))
    with pytest.raises(InputError, match=r"trimming\.json: is not what trim\.py writes"):
        read_trim_record(tmp_path)
