"""Read questions on contexts from the JSON of SQuAD 1.1 and 2.0, or from a hub data set with the same fields.

A SQuAD file is one JSON value, so this reader, unlike the others, holds the whole file in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import Place, Question
from bistil_ds.tasks.readers.hub import hub_rows
from bistil_ds.tasks.readers.json_values import parse_json, text_at
from bistil_ds.tasks.readers.lines import at_least_one, quote
from bistil_ds.tasks.task import ReadOptions
from bistil_ds.text.compression import opened
from bistil_ds.text.specification import HubDataset, parse_specification

COLUMNS: dict[str, tuple[str, ...]] = {"id": (), "question": (), "context": (), "answers": ()}


def read_questions(source: str, options: ReadOptions) -> Iterator[Question]:
    """Stream the questions; the `line` of a place is the number of a paragraph in the file, from 1, or of a hub row.

    `answers` is empty for an unanswerable question (`is_impossible` in SQuAD 2.0, or a hub row without answers).

    Raises:
        InputError: the data is not SQuAD (the message names the path in the JSON, such as
            data[3].paragraphs[0].qas[2], and the question's id); an answer is not in the context where it claims to be;
            two questions have one id; or there is no question at all.
    """
    seen: set[str] = set()
    message = f"{options.flag}: {source} has no questions; expected SQuAD: data, each with paragraphs, each with qas"
    for where, question in at_least_one(_questions(source, options), message):
        if question.id in seen:
            raise InputError(f"{where}: id {quote(question.id)} is another question's too; every question has its own")
        seen.add(question.id)
        yield question


def _questions(source: str, options: ReadOptions) -> Iterator[tuple[str, Question]]:
    corpus = parse_specification(source)
    if isinstance(corpus, HubDataset):
        for place, where, row in hub_rows(corpus, options, COLUMNS):
            yield where, _question(row, text_at(row, "context", where), _unzipped(row["answers"]), place, where)
        return
    name = f"{options.flag}: {corpus}"
    paragraphs = 0
    for article_path, article in _items(_content(corpus, options.flag), "data", name):
        for path, paragraph in _items(article, "paragraphs", article_path):
            paragraphs += 1
            context = text_at(paragraph, "context", path)
            place = Place(str(corpus), paragraphs)
            for where, found in _items(paragraph, "qas", path):
                yield where, _question(found, context, _answers_of(found, where), place, where)


def _content(path: Path, flag: str) -> dict[str, Any]:
    with opened(path, flag) as file:
        content = file.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{flag}: {path}, line {line} is not UTF-8 (byte 0x{content[error.start]:02x}); convert it, with iconv say"
        ) from None
    value = parse_json(text, f"{flag}: {path}")
    if not isinstance(value, dict):
        raise InputError(f'{flag}: {path} is no SQuAD file; expected {{"data": [...]}}')
    return value


def _items(holder: dict[str, Any], key: str, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (path, object) for each object of the list under the key."""
    separator = ": " if key == "data" else "."
    values = holder.get(key)
    if not isinstance(values, list):
        found = f"is {quote(values)}" if key in holder else "is missing"
        raise InputError(f"{path}{separator}{key} {found}; SQuAD has a list here")
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise InputError(f"{path}{separator}{key}[{index}] is {quote(value)}; SQuAD has an object here")
        yield f"{path}{separator}{key}[{index}]", value


def _answers_of(question: dict[str, Any], where: str) -> Any:
    """Return the answers of a question, after checking that they do not contradict `is_impossible`."""
    impossible = question.get("is_impossible", False)
    if not isinstance(impossible, bool):
        raise InputError(f"{where}: is_impossible is {quote(impossible)}; expected true or false")
    answers = question.get("answers")
    if answers == [] and not impossible:
        raise InputError(f"{where}: no answers; expected some, or is_impossible (SQuAD 2.0)")
    if answers and impossible:
        raise InputError(f"{where}: is_impossible, yet it has answers; expected one or the other")
    return answers


def _unzipped(answers: Any) -> Any:
    """Turn a hub row's lists of texts and of starts into SQuAD's list of answers; None if their lengths differ."""
    if not isinstance(answers, dict) or not all(isinstance(answers.get(k), list) for k in ("text", "answer_start")):
        return answers
    if len(answers["text"]) != len(answers["answer_start"]):
        return None
    pairs = zip(answers["text"], answers["answer_start"], strict=True)
    return [{"text": text, "answer_start": start} for text, start in pairs]


def _question(found: dict[str, Any], context: str, answers: Any, place: Place, where: str) -> Question:
    name = text_at(found, "id", where)
    where = f"{where} (id {quote(name)})"
    if not isinstance(answers, list):
        raise InputError(f"{where}: answers is {quote(answers)}; expected a list of text and answer_start")
    checked = tuple(_answer(answer, context, f"{where}.answers[{index}]") for index, answer in enumerate(answers))
    return Question(name, text_at(found, "question", where), context, checked, place)


def _answer(answer: Any, context: str, where: str) -> tuple[str, int]:
    if not isinstance(answer, dict):
        raise InputError(f"{where} is {quote(answer)}; expected an object with text and answer_start")
    text, start = text_at(answer, "text", where), answer.get("answer_start")
    if isinstance(start, bool) or not isinstance(start, int):
        raise InputError(f"{where}: answer_start is {quote(start)}; expected the number of a character of the context")
    if start < 0 or not context.startswith(text, start):
        there = context.find(text)
        hint = "it is nowhere in the context" if there < 0 else f"it first stands at {there}"
        raise InputError(f"{where}: {quote(text)} is not in the context at character {start}; {hint}")
    return text, start
