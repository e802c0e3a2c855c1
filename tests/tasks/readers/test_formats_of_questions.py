"""Test that the relatives of SQuAD are read: other ids and offsets, flat exports, several languages in one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from reading import read_all, refusal, write

from bistil_ds.errors import Notice
from bistil_ds.tasks.examples import NOWHERE
from bistil_ds.tasks.readers import read_questions

CONTEXT = "Ada lives in Oslo."
ANSWERS = [{"text": "Oslo", "answer_start": 13}]
COLUMNS = {"text": ["Oslo"], "answer_start": [13]}


def nested(**question: Any) -> dict[str, Any]:
    """Return a SQuAD file with one question, changed as the arguments say."""
    asked = {"id": "7", "question": "Where?", "answers": ANSWERS, **question}
    return {"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": [asked]}]}]}


def flat(**more: Any) -> dict[str, Any]:
    return {"id": "7", "title": "t", "context": CONTEXT, "question": "Where?", "answers": COLUMNS, **more}


FORMATS = {
    "SQuAD 1.1, MLQA, XQuAD, KorQuAD": nested(),
    "SQuAD 2.0": nested(is_impossible=False),
    "ids are numbers": nested(id=7),
    "offsets are strings": nested(answers=[{"text": "Oslo", "answer_start": "13"}]),
    "more keys in answers": nested(answers=[{"text": "Oslo", "answer_start": 13, "answer_id": 9}]),
    "flat, in data": {"data": [flat()]},
    "flat, a list": [flat()],
    "flat, one line": flat(),
    "flat, answers as in files": {"data": [flat(answers=ANSWERS)]},
    "flat, one answer": [flat(answers=ANSWERS[0])],
    "a list of articles": nested()["data"],
    "one article": nested()["data"][0],
    "a paragraph a line": nested()["data"][0]["paragraphs"][0],
}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("name", FORMATS)
def test_questions_are_read_from_every_format(tmp_path: Path, name: str, indent: int | None) -> None:
    path = write(tmp_path / "a.json", json.dumps(FORMATS[name], indent=indent))
    (found,) = read_all(read_questions, path)
    assert (found.id, found.question, found.context, found.answers) == ("7", "Where?", CONTEXT, (("Oslo", 13),))


def test_lines_are_flat_rows_or_paragraphs_each_with_its_place(tmp_path: Path) -> None:
    rows = [flat(id=str(number)) for number in range(3)]
    path = write(tmp_path / "a.jsonl", "\n\n".join(map(json.dumps, rows)))
    assert [(one.id, one.place.line) for one in read_all(read_questions, path)] == [("0", 1), ("1", 3), ("2", 5)]
    path = write(tmp_path / "b.jsonl", json.dumps(rows[0]) + "\n" + json.dumps(flat(id="1", question=" ")) + "\n")
    assert "line 2 (id '1'): question is empty" in refusal(read_questions, path)


NONE = {
    "marked": nested(is_impossible=True, answers=[]),
    "marked, no answers key": {**nested(is_impossible=True)},
    "marked, null": nested(is_impossible=True, answers=None),
    "plausible answers": nested(is_impossible=True, answers=[], plausible_answers=ANSWERS),
    "flat": [flat(answers={"text": [], "answer_start": []})],
    "flat, marked": [flat(answers=[], is_impossible=True)],
    "empty, nowhere": nested(answers=[{"text": "", "answer_start": -1}]),
    "empty, nowhere, flat": [flat(answers={"text": [""], "answer_start": [-1]})],
    "empty, at the start, flat": [flat(answers={"text": [""], "answer_start": [0]})],
}
del NONE["marked, no answers key"]["data"][0]["paragraphs"][0]["qas"][0]["answers"]


@pytest.mark.parametrize("name", NONE)
def test_unanswerable_questions_have_no_answers(tmp_path: Path, name: str) -> None:
    (found,) = read_all(read_questions, write(tmp_path / "a.json", json.dumps(NONE[name])))
    assert found.answers == ()


@pytest.mark.parametrize("start", [12, 0, -1, 99, "14"])
def test_an_answer_at_a_wrong_offset_is_placed_where_it_stands_once(tmp_path: Path, start: Any) -> None:
    path = write(tmp_path / "a.json", nested(answers=[{"text": "Oslo", "answer_start": start}]))
    with pytest.warns(Notice, match=r"answers\[0\]: the answer is not where its offset says.* like this: 1\)"):
        (found,) = read_all(read_questions, path)
    assert found.answers == (("Oslo", 13),)


def test_an_answer_is_not_moved_into_another_word(tmp_path: Path) -> None:
    for context, text, there in (
        ("The painting departs from tradition", "art", 16),
        ("It ended in 1995", "199", 12),
        ("दिल्लीवासी", "दिल्ली", 0),
    ):
        row = flat(context=context, answers=[{"text": text, "answer_start": 1}])
        path = write(tmp_path / "a.json", json.dumps([row]))
        with pytest.warns(Notice, match=f"is not at character 1, but within another word at {there} "):
            assert read_all(read_questions, path)[0].answers == ((text, NOWHERE),)
    for context, text in (("서울은 크다", "서울"), ("東京は大きい", "東京"), ("the 1990s.", "1990")):
        row = flat(context=context, answers=[{"text": text, "answer_start": 1}])
        with pytest.warns(Notice, match="was found"):
            assert read_all(read_questions, write(tmp_path / "b.json", json.dumps([row])))[0].answers[0][0] == text


def test_keys_of_nested_questions_may_have_other_names(tmp_path: Path) -> None:
    document = nested(guid="k1", id="not this")
    path = write(tmp_path / "klue.json", document)
    assert read_all(read_questions, path, columns={"id": "guid"})[0].id == "k1"
    assert "no key 'id' (it has" in refusal(read_questions, path, columns={"id": "gid"})
    assert "--columns title=t: the columns here are id, question," in refusal(
        read_questions, path, columns={"title": "t"}
    )


def test_tydiqa_is_chosen_by_the_language_in_its_ids(tmp_path: Path) -> None:
    rows = [flat(id=f"{name}-2387335860751143628-{number}") for number, name in enumerate(("arabic", "finnish-"))]
    path = write(tmp_path / "tydiqa.json", json.dumps({"data": rows}))
    with pytest.warns(Notice, match=r"read 1 rows in 'fi'; left out 1 in other languages \(arabic\)"):
        assert [one.id for one in read_all(read_questions, path, language="fi")] == ["finnish--2387335860751143628-1"]
    assert len(read_all(read_questions, path)) == 2
    assert "has rows in arabic, finnish, and none in 'tydi'" in refusal(read_questions, path, language="tydi")
    rows = [flat(id=f"north-2387335860751143628-{number}") for number in range(2)]  # no language
    path = write(tmp_path / "a.json", json.dumps({"data": rows}))
    assert len(read_all(read_questions, path, language="fi")) == 2


def test_flat_rows_are_chosen_by_their_column_of_languages(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", json.dumps([flat(id="0", lang="de"), flat(id="1", lang="tr")]))
    assert [one.id for one in read_all(read_questions, path, language="tr")] == ["1"]
    assert "has rows in de, tr, and none in 'hi'" in refusal(read_questions, path, language="hi")
    path = write(tmp_path / "b.json", json.dumps([{**flat(), "query": "Who?"}]))
    assert read_all(read_questions, path, columns={"question": "query"})[0].question == "Who?"
