"""Read questions on contexts from SQuAD 1.1 and 2.0 and data sets like them, in files or on the hub.

MLQA, XQuAD, KorQuAD and TyDiQA-GoldP have SQuAD's format. Files exported from hub data sets are flat: each object, in a
list or on a line of its own, has a context, a question and answers. A file that is one JSON value is held in memory.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from bistil_ds.errors import InputError, Notice
from bistil_ds.tasks.examples import NOWHERE, Place, Question
from bistil_ds.tasks.languages import language_code
from bistil_ds.tasks.readers.columns import LANGUAGE, check_names, find_columns
from bistil_ds.tasks.readers.json_documents import Document, json_documents
from bistil_ds.tasks.readers.json_values import text_at
from bistil_ds.tasks.readers.language import LanguageFilter
from bistil_ds.tasks.readers.lines import at_least_one, quote
from bistil_ds.tasks.readers.records import records
from bistil_ds.tasks.task import ReadOptions
from bistil_ds.text.specification import HubDataset, parse_specification

COLUMNS: dict[str, tuple[str, ...]] = {"id": (), "question": (), "context": (), "answers": ()}
# Beginnings of the Unicode names of letters after any of which a word may end (see `_inside_word`)
WITHOUT_SPACES = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
TYDIQA_ID = re.compile(r"([a-z]+)-+[0-9]{4,}-[0-9]+")  # arabic-2387335860751143628-1: one file has all languages


class _Found(NamedTuple):
    """A question as the data has it.

    `where` is its name in messages, and `flat` says whether it is a flat row.
    """

    place: Place
    where: str
    values: dict[str, Any]
    context: str
    flat: bool = True


class _Misplaced(NamedTuple):
    """Answers that are not where their offset says.

    `moved` has the names of those whose offset was corrected, and `lost` says of each of the others why it was not.
    """

    moved: list[str]
    lost: list[str]


def read_questions(source: str, options: ReadOptions) -> Iterator[Question]:
    """Stream the questions. The place of each is its paragraph's number in the file, from 1, or its row or line.

    A question counts as unanswerable if it has `is_impossible` (SQuAD 2.0), if it is a flat row without answers, or if
    its only answer is "" at -1 or 0; its `answers` are then empty. If ids begin with a language (TyDiQA-GoldP), or flat
    rows have a column `language`, only questions in `options.language` are kept.

    An answer may not be where its offset says. If it stands in the context exactly once and not within a longer word,
    its offset is corrected; otherwise it is `NOWHERE`. A warning gives the number of answers of either kind. An answer
    in another Unicode form than the context (NFC, NFD) gets the form that it has there.

    Raises:
        InputError: the data is not SQuAD (the message names the path in the JSON, such as
            data[3].paragraphs[0].qas[2], and the question's id); two questions have the same id; `options.columns` has
            a key other than `id`, `question`, `context` and `answers`; or there is no question at all.
    """
    seen: set[str] = set()
    misplaced = _Misplaced([], [])
    message = f"{options.flag}: {source} has no questions; expected SQuAD: data, each with paragraphs, each with qas"
    chosen = LanguageFilter(options, f"{options.flag}: {source}")
    for found in at_least_one(_found(source, options), message):
        question = _question(found, misplaced)
        if question.id in seen:
            name = quote(question.id)
            raise InputError(f"{found.where}: id {name} is another question's too; every question has its own")
        seen.add(question.id)
        match = TYDIQA_ID.fullmatch(question.id)
        if match is None or language_code(match[1]) is None or chosen.keeps(match[1], found.where):
            yield question
    chosen.check()
    if moved := misplaced.moved:
        first = f"{moved[0]}: the answer is not where its offset says, but stands once in the context, and was found"
        warnings.warn(f"{first} (answers found like this: {len(moved)})", Notice, stacklevel=2)
    if lost := misplaced.lost:
        said = f"answers without a place: {len(lost)}; scores need none, and training leaves such answers out"
        warnings.warn(f"{lost[0]} ({said})", Notice, stacklevel=2)


def _found(source: str, options: ReadOptions) -> Iterator[_Found]:
    corpus = parse_specification(source)
    if isinstance(corpus, HubDataset):
        for place, where, row in records(source, options, COLUMNS):
            yield _Found(place, where, row, text_at(row, "context", where))
        return
    file, paragraphs = str(corpus), 0
    chosen = LanguageFilter(options, f"{options.flag}: {file}")
    for document in json_documents(corpus, options.flag):
        for path, holder in _holders(document, f"{options.flag}: {file}"):
            if not {"paragraphs", "qas"} & holder.keys() and "question" in {*holder, *options.columns}:  # a flat row
                paragraphs += 1
                columns = find_columns(COLUMNS, list(holder), options, path)
                values = holder | {ours: holder[theirs] for ours, theirs in columns.items()}
                if LANGUAGE not in columns or chosen.keeps(values[LANGUAGE], path):
                    place = Place(file, paragraphs if document.alone else document.line)
                    yield _Found(place, path, values, text_at(values, "context", path))
                continue
            check_names(options, tuple(COLUMNS))
            listed = [(path, holder)] if "qas" in holder else _items(holder, "paragraphs", path)
            for where, paragraph in listed:
                paragraphs += 1
                context = text_at(_renamed(paragraph, options), "context", where)
                for asked, values in _items(paragraph, "qas", where):
                    yield _Found(Place(file, paragraphs), asked, _renamed(values, options), context, flat=False)
    chosen.check()


def _renamed(values: dict[str, Any], options: ReadOptions) -> dict[str, Any]:
    """Return the values under our names.

    If `options.columns` maps one of our names to another key, that key's value replaces any value under our name.
    """
    given = {ours: values[theirs] for ours, theirs in options.columns.items() if theirs in values}
    return {key: value for key, value in values.items() if key not in options.columns} | given


def _holders(document: Document, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (path in messages, object) for each article, paragraph or flat row of a JSON value."""
    value = document.value
    if isinstance(value, list):
        yield from _items({"": value}, "", name)
    elif not isinstance(value, dict):
        raise InputError(f'{document.where} is no SQuAD file; expected {{"data": [...]}}')
    elif document.alone and not {"paragraphs", "qas", "question"} & value.keys():
        yield from _items(value, "data", name)
    else:
        yield document.where, value


def _items(holder: dict[str, Any], key: str, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (path in messages, object) for each object in the list under the key."""
    separator = ": " if key in ("data", "") else "."
    values = holder.get(key)
    if not isinstance(values, list):
        found = f"is {quote(values)}" if key in holder else "is missing"
        raise InputError(f"{path}{separator}{key} {found}; SQuAD has a list here")
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise InputError(f"{path}{separator}{key}[{index}] is {quote(value)}; SQuAD has an object here")
        yield f"{path}{separator}{key}[{index}]", value


def _question(found: _Found, misplaced: _Misplaced) -> Question:
    name = _id(found.values, found.where)
    where = f"{found.where} (id {quote(name)})"
    answers = _answers(found, where)
    placed = [_answer(one, found.context, f"{where}.answers[{index}]", misplaced) for index, one in enumerate(answers)]
    return Question(name, text_at(found.values, "question", where), found.context, tuple(placed), found.place)


def _id(values: dict[str, Any], where: str) -> str:
    number = values.get("id")
    return str(number) if isinstance(number, int) and not isinstance(number, bool) else text_at(values, "id", where)


def _answers(found: _Found, where: str) -> list[Any]:
    """Return the answers of a question; an empty list if it is unanswerable.

    Raises:
        InputError: the answers are no list, or contradict `is_impossible`.
    """
    impossible, answers = found.values.get("is_impossible"), _listed(found.values.get("answers"))
    if impossible is not None and not isinstance(impossible, bool):
        raise InputError(f"{where}: is_impossible is {quote(impossible)}; expected true or false")
    if impossible is not False and _is_no_answer(answers):
        return []
    if impossible and answers:
        raise InputError(f"{where}: is_impossible, yet it has answers; expected one or the other")
    if impossible and answers is None:
        return []
    if not isinstance(answers, list):
        raise InputError(f"{where}: answers is {quote(answers)}; expected a list of text and answer_start")
    if not answers and not impossible and not found.flat:
        raise InputError(f"{where}: no answers; expected some, or is_impossible (SQuAD 2.0)")
    return answers


def _is_no_answer(answers: Any) -> bool:
    """Return whether the only answer is "" at -1 or 0, which means that there is no answer."""
    one = answers[0] if isinstance(answers, list) and len(answers) == 1 else None
    return isinstance(one, dict) and (one.get("text"), one.get("answer_start")) in (("", -1), ("", 0))


def _listed(answers: Any) -> Any:
    """Turn a single answer, or a flat row's list of texts and list of starts, into SQuAD's list of answers."""
    if not isinstance(answers, dict):
        return answers
    texts, starts = answers.get("text"), answers.get("answer_start")
    if not isinstance(texts, list) or not isinstance(starts, list):
        return [answers] if isinstance(texts, str) else answers
    if len(texts) != len(starts):
        return answers
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]


def _answer(answer: Any, context: str, where: str, misplaced: _Misplaced) -> tuple[str, int]:
    if not isinstance(answer, dict):
        raise InputError(f"{where} is {quote(answer)}; expected an object with text and answer_start")
    text, start = text_at(answer, "text", where), answer.get("answer_start")
    if isinstance(start, str) and start.isdecimal() and len(start) < 10:
        start = int(start)
    if isinstance(start, bool) or not isinstance(start, int):
        raise InputError(f"{where}: answer_start is {quote(start)}; expected the number of a character of the context")
    forms = (text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD")))
    text = next((form for form in forms if form in context), text)
    if start >= 0 and context.startswith(text, start):
        return text, start
    there = context.find(text)
    again = context.find(text, there + 1)
    if there < 0:
        reason = "nowhere in the context"
    elif again >= 0:
        reason = f"not at character {quote(start)}, but at {there} and {again}"
    elif _inside_word(context, there) or _inside_word(context, there + len(text)):
        reason = f"not at character {quote(start)}, but within another word at {there}"
    else:
        misplaced.moved.append(where)
        return text, there
    misplaced.lost.append(f"{where}: {quote(text)} is {reason}")
    return text, NOWHERE


def _inside_word(context: str, at: int) -> bool:
    """Return whether `at` lies inside a word: the character there and the one before are both letters or both digits.

    Letters of some scripts do not count, because a word may end after any of them: scripts without spaces between
    words, and that of Korean, which writes particles together with words.
    """
    kinds = [
        "" if unicodedata.name(one, "").startswith(WITHOUT_SPACES) else unicodedata.category(one)[0].replace("M", "L")
        for one in context[max(at - 1, 0) : at + 1]
    ]
    return at > 0 and kinds in (["L", "L"], ["N", "N"])
