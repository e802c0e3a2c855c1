"""Test that SQuAD files are read with every answer at its stated place, and that errors name their path in the file."""

from __future__ import annotations

import copy
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reading import read_all, refusal, write

from bistil_ds.errors import Notice
from bistil_ds.tasks.examples import NOWHERE, Place, Question
from bistil_ds.tasks.readers import read_questions

CONTEXT = "Göbekli Tepe is older than Çatalhöyük. Tepe means hill."


def answer(text: str, start: int) -> dict[str, Any]:
    return {"text": text, "answer_start": start}


FILE: dict[str, Any] = {
    "version": "v2.0",
    "data": [
        {"title": "none", "paragraphs": []},
        {
            "paragraphs": [
                {"context": "Alone.", "qas": []},
                {
                    "context": CONTEXT,
                    "qas": [
                        {"id": "a", "question": "Which?", "answers": [answer("Tepe", 8), answer("Tepe", 39)]},
                        {"id": "b", "question": "Why?", "answers": [], "is_impossible": True, "plausible_answers": [1]},
                    ],
                },
            ]
        },
    ],
}


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return a copy of the file after `change` has edited it, one paragraph or that paragraph's first question."""
    file = copy.deepcopy(FILE)
    paragraph = file["data"][1]["paragraphs"][1]
    change(paragraph | {"file": file, "paragraph": paragraph, "first": paragraph["qas"][0]})
    return file


def test_answerable_and_unanswerable_questions_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", FILE)
    place = Place(str(path), 2)
    assert read_all(read_questions, path) == [
        Question("a", "Which?", CONTEXT, (("Tepe", 8), ("Tepe", 39)), place),
        Question("b", "Why?", CONTEXT, (), place),
    ]


BAD: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no data": (lambda a: a["file"].pop("data"), ": data is missing; SQuAD has a list here"),
    "data an object": (lambda a: a["file"].update(data={}), ": data is an object"),
    "article a string": (lambda a: a["file"]["data"].append("x"), ": data[2] is 'x'; SQuAD has an object here"),
    "no paragraphs": (lambda a: a["file"]["data"][0].pop("paragraphs"), ": data[0].paragraphs is missing"),
    "no context": (lambda a: a["paragraph"].pop("context"), ": data[1].paragraphs[1]: no key 'context' (it has 'qas')"),
    "no questions list": (lambda a: a["paragraph"].pop("qas"), ": data[1].paragraphs[1].qas is missing"),
    "no id": (lambda a: a["first"].pop("id"), ": data[1].paragraphs[1].qas[0]: no key 'id'"),
    "id true": (lambda a: a["first"].update(id=True), ": data[1].paragraphs[1].qas[0]: id is True; expected a string"),
    "no question": (lambda a: a["first"].pop("question"), ".qas[0] (id 'a'): no key 'question'"),
    "blank question": (lambda a: a["first"].update(question=" "), ".qas[0] (id 'a'): question is empty"),
    "no answers": (lambda a: a["first"].pop("answers"), ".qas[0] (id 'a'): answers is None; expected a list"),
    "none, not marked": (lambda a: a["first"]["answers"].clear(), ".qas[0] (id 'a'): no answers; expected some, or "),
    "some, but marked": (
        lambda a: a["first"].update(is_impossible=True),
        ".qas[0] (id 'a'): is_impossible, yet it has ",
    ),
    "marked by a word": (lambda a: a["first"].update(is_impossible="no"), ".qas[0] (id 'a'): is_impossible is 'no'"),
    "answer a string": (lambda a: a["first"].update(answers=["x"]), ".qas[0] (id 'a').answers[0] is 'x'"),
    "no start": (lambda a: a["first"]["answers"][1].pop("answer_start"), "(id 'a').answers[1]: answer_start is None"),
    "start true": (lambda a: a["first"]["answers"][1].update(answer_start=True), "answers[1]: answer_start is True"),
    "start a float": (lambda a: a["first"]["answers"][1].update(answer_start=8.0), "answers[1]: answer_start is 8.0"),
    "start a word": (lambda a: a["first"]["answers"][0].update(answer_start="8th"), "answer_start is '8th'; expected"),
    "empty answer": (lambda a: a["first"]["answers"][0].update(text=""), "(id 'a').answers[0]: text is empty"),
    "id twice": (lambda a: a["first"].update(id="b"), ".qas[1]: id 'b' is another question's too"),
    "no questions": (lambda a: a["paragraph"]["qas"].clear(), "has no questions"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_squad_is_refused_by_its_path(tmp_path: Path, name: str) -> None:
    change, expected = BAD[name]
    path = write(tmp_path / "a.json", changed(change))
    message = refusal(read_questions, path)
    assert expected in message
    assert message.startswith(f"--test_file: {path}")


LOST: dict[str, tuple[dict[str, Any], str]] = {
    "start negative": ({"answer_start": -16}, "'Tepe' is not at character -16, but at 8 and 39"),
    "start by bytes": ({"answer_start": 9}, "'Tepe' is not at character 9, but at 8 and 39"),
    "start far off": ({"answer_start": 10**400}, "is not at character 1000"),
    "answer elsewhere": ({"text": "tepe"}, "'tepe' is nowhere in the context"),
}


@pytest.mark.parametrize("name", LOST)
def test_an_answer_without_a_place_is_kept_for_scores_and_told(tmp_path: Path, name: str) -> None:
    change, expected = LOST[name]
    path = write(tmp_path / "a.json", changed(lambda a: a["first"]["answers"][0].update(change)))
    said = r"data\[1\].paragraphs\[1\].qas\[0\] \(id 'a'\).answers\[0\]: " + f".*{expected}.*without a place: 1;"
    with pytest.warns(Notice, match=said):
        first, _ = read_all(read_questions, path)
    assert first.answers == ((change.get("text", "Tepe"), NOWHERE), ("Tepe", 39))


@pytest.mark.parametrize(("ours", "theirs"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_answer_takes_the_unicode_form_of_its_context(tmp_path: Path, ours: str, theirs: str) -> None:
    context, text = unicodedata.normalize(theirs, CONTEXT), unicodedata.normalize(ours, "Çatalhöyük")
    there = unicodedata.normalize(theirs, text)
    start = context.index(there)
    question = {"id": "a", "question": "Which?", "answers": [answer(text, start)]}
    path = write(tmp_path / "a.json", {"data": [{"paragraphs": [{"context": context, "qas": [question]}]}]})
    assert read_all(read_questions, path)[0].answers == ((there, start),)


CONTENT = {
    "empty": (b"", "has no questions"),
    "cut": (b'{"data": [\n{"paragraphs"', "not JSON (Expecting ':' delimiter at line 2, column 14)"),
    "an empty list": (b"[]", "has no questions"),
    "a string": (b'"data"', "is no SQuAD file"),
    "deep": (b'{"data": ' + b"[" * 100_000, "JSON nested too deeply"),
    "long number": (b'{"data":\n' + b"1" * 5000 + b"}", "a number with thousands of digits at line 2"),
    "two lists of questions": (b'{"data": [], "data": []}', "the key 'data' stands twice in one object"),
    "Latin-1": (b'{"data": [\n"\xe9"]}', "line 2 is not UTF-8 (byte 0xe9)"),
}


@pytest.mark.parametrize("name", CONTENT)
def test_what_is_not_json_is_refused_by_its_line(tmp_path: Path, name: str) -> None:
    content, expected = CONTENT[name]
    assert expected in refusal(read_questions, write(tmp_path / "a.json", content))


def test_a_key_that_is_there_twice_among_many_is_found_at_once(tmp_path: Path) -> None:
    keys = [f"k{number}" for number in range(60_000)]
    path = write(tmp_path / "a.json", "{" + ", ".join(f'"{key}": 0' for key in [*keys, keys[-1]]) + "}")
    before = time.process_time()
    assert "the key 'k59999' stands twice in one object" in refusal(read_questions, path)
    assert time.process_time() - before < 5  # seconds
