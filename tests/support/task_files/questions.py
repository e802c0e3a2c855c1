"""SQuAD for the fuzz test."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from random import Random
from typing import Any

from task_files.drawing import WORDS, Values, draw_words

INSIDE_WORD = re.compile(r"(?:[^\W\d_日本]|\u0301){2}|\d{2}")


def make_squad(rng: Random) -> str:
    paragraphs = []
    for number in range(rng.randint(1, 3)):
        words = draw_words(rng, 12)
        context = " ".join(words)
        questions: list[dict[str, Any]] = []
        for at in range(rng.randint(0 if number else 1, 3)):
            word = rng.choice(words)
            question = {"id": f"q{number}{at}", "question": rng.choice(WORDS)}
            if not (none := rng.random() < 0.2):
                question["answers"] = [{"text": word, "answer_start": context.index(word)}] * rng.randint(1, 2)
            questions.append(question | ({"answers": [], "is_impossible": True} if none else {}))
        paragraphs.append({"context": context, "qas": questions})
    cut = rng.randrange(len(paragraphs))
    data = [{"title": "t", "paragraphs": paragraphs[:cut]}, {"paragraphs": paragraphs[cut:]}]
    return json.dumps({"version": "v2.0", "data": data}, ensure_ascii=False, indent=rng.choice([None, 1]))


def write_squad(questions: Sequence[Values]) -> str:
    paragraphs = []
    for name, question, context, answers in questions:
        listed = [{"text": text, "answer_start": start} for text, start in answers]
        one = {"id": name, "question": question, "answers": listed, "is_impossible": not listed}
        paragraphs.append({"context": context, "qas": [one]})
    return json.dumps({"data": [{"paragraphs": paragraphs}]})


def simple_squad(text: str) -> list[Values]:
    return [
        (str(q["id"]), q["question"], p["context"], tuple(_placed(a, p["context"]) for a in _answers(q)))
        for article in json.loads(text)["data"]
        for p in article["paragraphs"]
        for q in p["qas"]
    ]


def _answers(question: dict[str, Any]) -> list[dict[str, Any]]:
    return [answer for answer in question.get("answers") or () if answer["text"]]


def _placed(answer: dict[str, Any], context: str) -> tuple[str, int]:
    """Return the answer at the place that it names, or else at its only one, if no longer word is there; or at -1."""
    text, start = answer["text"], int(answer["answer_start"])
    if start >= 0 and context[start : start + len(text)] == text:
        return text, start
    places = [match.start() for match in re.finditer(f"(?={re.escape(text)})", context)]
    ends = [end for at in places for end in (at, at + len(text))]
    inside = any(end and INSIDE_WORD.fullmatch(context[end - 1 : end + 1]) for end in ends)
    return text, places[0] if len(places) == 1 and not inside else -1
