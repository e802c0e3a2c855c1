"""Test that no name, label, licence or recorded argument can be anything but text in a model card."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from export_folders import write_student, write_task_sft
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from markdown_it.token import Token

from bistil_ds.console.untrusted import one_line
from bistil_ds.errors import InputError
from bistil_ds.export.card import PHASE_1, TUNING, model_card
from bistil_ds.export.card_facts import BaseFacts, CardFacts, Run, SftFacts, base_facts, sft_facts
from bistil_ds.export.card_scores import Score
from bistil_ds.export.engines.check import EngineCheck
from bistil_ds.export.engines.report import FP32, EngineFile, EngineReport, Scored
from bistil_ds.student.origin import Origin, write_origin
from bistil_ds.vocabulary.coverage import Coverage

HOSTILE = {
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "comment": "<!--",
    "heading": "\n\n# Buy this\n\n",
    "front matter": "\n---\nlicense: mit\n---\n",
    "link": "[x](http://evil.example) ![x](http://evil.example/x.png)",
    "code": '"); import os; os.system("true"); ("',
    "fence": "\n```\n\n```python\nimport os\n```\n",
    "span": "` ``` <b> `",
    "cells": "a | b |\n| c | d |\n|---|---|",
    "control": "\x1b[2J\x9b31m\u202eevil\0\udcff",
    "emphasis": "**__~~all~~__** $x$ \\",
}
HEADINGS = ["Use", "Files for other engines", "Method", "Data", "Scores", "Languages", "Limitations", "Licence"]
SHOWN = {"paragraph", "heading", "bullet_list", "list_item", "table", "thead", "tbody", "tr", "th", "td"}
TYPES = {"inline", "fence", *(f"{name}_{side}" for name in SHOWN for side in ("open", "close"))}


def facts() -> CardFacts:
    run = Run(
        {**dict.fromkeys([*PHASE_1, *TUNING], "x"), "teacher_model": "x", "teacher_sft": ["x"], "label_map": ["x"]},
        (("x", "x"), ("x", None)),
        "x",
        {"bistil-ds": "x", "torch": "x"},
        {"family": "x", "left_out": ["x", "y"]},
    )
    base = BaseFacts("x", "x", "x", ("x", "y"), (1, 3), (9, 8), run, {"x": "x", "y": "cc-by-nc"}, ("z",))
    metadata = {"task": "x", "languages": ["x"], "labels": ["x"], "licence": "x", "licences": {"x": "x"}}
    sfts = [SftFacts("x", entries, 1, metadata, run) for entries in (0, 1)]
    score = Score("x", ("x", "x"), 3, 0.5, "x", 0.5, 0.4, 0.6)
    kind, scores = "XLMRobertaForTokenClassification", {"x": {"x": 0.5}}
    file = EngineFile("x", "x", FP32, 9, EngineCheck(1e-6, 1e-6, [(1, 2)]), scores, 0.0)
    engines = EngineReport([file], {"x": Scored(["x"], 3, "x")}, scores, 9, 1)
    coverage = {"x": Coverage(1, 1.0, 0.0)}
    return CardFacts("x", kind, "x", ["x"], 8, 9, base, sfts, "x", [score], engines, coverage)


def spoil(value: Any, text: str) -> Any:
    """Return a copy of `value` in which every string, keys of mappings of names included, ends in `text`."""
    if isinstance(value, str):
        return value if value.startswith("XLM") else f"{value}{text}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {each.name: spoil(getattr(value, each.name), text) for each in dataclasses.fields(value)}
        return type(value)(**parts)
    if isinstance(value, Mapping):
        known = {"task", "languages", "labels", "licence", "licences", "bistil-ds", "torch", "teacher_model"}
        known |= {"teacher_sft", "family", "left_out", *PHASE_1, *TUNING}
        return {(key if key in known else spoil(key, text)): spoil(each, text) for key, each in value.items()}
    return type(value)(spoil(each, text) for each in value) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_whatever_others_wrote_stays_text(text: str) -> None:
    card = str(model_card(spoil(facts(), text)))
    assert all(line.isprintable() for line in card.split("\n"))
    loaded, plain = ModelCard(card), ModelCard(str(model_card(facts())))
    assert loaded.data.to_dict().keys() == plain.data.to_dict().keys()
    tokens = MarkdownIt().enable("table").parse(loaded.text)
    assert [token.type for token in tokens] == [token.type for token in MarkdownIt().enable("table").parse(plain.text)]
    assert {token.type for token in tokens} <= TYPES
    inside = {child.type for token in tokens for child in token.children or []}
    assert inside <= {"text", "text_special", "code_inline", "softbreak"}
    titles = [flat_text(tokens[place + 1]) for place, token in enumerate(tokens) if token.type == "heading_open"]
    assert titles == [one_line(f"x{text}"), *HEADINGS]
    fences = [token for token in tokens if token.type == "fence"]
    assert [fence.info for fence in fences] == ["python"]
    statements = ast.parse(fences[0].content).body
    assert [type(each).__name__ for each in statements] == ["ImportFrom", "Assign", "Assign"]
    names = [each.value.args[0].value for each in statements[1:]]  # type: ignore[attr-defined]
    assert names == [f"x{text}"] * 2


def flat_text(token: Token) -> str:
    return "".join(child.content for child in token.children or [])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    student = write_student(tmp_path_factory.mktemp("models") / "en-ha")
    write_origin(student, Origin({"model x": "mit"}, ("en", "sw")))
    return student, write_task_sft(student.parent / "sft", student, "ner", licences={"data en": "mit"})


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value inside of a JSON value; of a long list, of its first two."""
    parts = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, part in ((key, part) for key, part in parts if key not in NOT_READ):
        yield (*path, key)
        yield from places(part, (*path, key))


def change(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = change(copy[path[0]], path[1:], other)
    return copy


OTHERS: tuple[Any, ...] = (None, -1e300, "\x1b[31m", "../" * 2000, ["x"], {"x": [1]})
FILES = ("run.json", "distillation.json", "kept_ids.json", "origin.json", "sft/sft.json", "sft/run.json")
NOT_READ = {"hardware", "versions", "command", "seeds", "started", "finished", "results"}  # in a run.json, on a card


@pytest.mark.parametrize("file", FILES)
def test_a_value_of_another_kind_is_one_line_or_on_the_card(folders: tuple[Path, Path], file: str) -> None:
    student, sft = folders
    path = sft.parent / file if file.startswith("sft/") else student / file
    whole = path.read_text()
    refused = shown = 0
    try:
        for place in places(json.loads(whole)):
            for other in OTHERS:
                path.write_text(json.dumps(change(json.loads(whole), place, other)))
                try:
                    found = replace(facts(), base=base_facts(str(student)), sfts=[sft_facts(str(sft))])
                    card = str(model_card(found))
                except InputError as error:
                    refused += "\n" not in str(error)
                else:
                    shown += all(line.isprintable() for line in card.split("\n"))
        assert refused + shown == len(OTHERS) * len(list(places(json.loads(whole))))
    finally:
        path.write_text(whole)
