"""Premises and hypotheses in TSV and JSONL for the fuzz test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

from task_files.drawing import WORDS, Values, draw_words

LABELS = ["entailment", "neutral", "contradiction"]


def make_tsv(rng: Random) -> str:
    names = rng.choice([["premise", "hypothesis", "label"], ["gold_label", "id", "sentence1", "sentence2"]])
    rows = [names]
    for _ in range(rng.randint(1, 6)):
        rows.append([rng.choice(LABELS) if "label" in name else " ".join(draw_words(rng)) for name in names])
    return "".join("\t".join(row) + "\n" for row in rows)


def simple_tsv(text: str) -> list[Values]:
    header, *rows = [line.split("\t") for line in text.split("\n") if line]
    if header[-1].strip().lower() in [*LABELS, "-"] and len(header) == 3:
        header, rows = ["premise", "hypothesis", "label"], [header, *rows]
    assert all(len(row) == len(header) for row in rows)
    at = [next(header.index(n) for n in names if n in header) for names in (PREMISE, HYPOTHESIS, LABEL)]
    return _labelled([tuple(row[i] for i in at) for row in rows])


PREMISE, HYPOTHESIS, LABEL = ("premise", "sentence1"), ("hypothesis", "sentence2"), ("label", "gold_label")


def _labelled(pairs: list[Values]) -> list[Values]:
    named = [(premise, hypothesis, str(label).strip().lower()) for premise, hypothesis, label in pairs]
    letters = {label[0]: label for label in LABELS}  # as in ANLI, and in a file that is cut off
    return [(*pair[:2], letters.get(pair[2], pair[2])) for pair in named if pair[2] not in ("-", "-1")]


def make_pairs_jsonl(rng: Random) -> str:
    row = lambda: {"premise": " ".join(draw_words(rng)), "hypothesis": rng.choice(WORDS), "label": rng.choice(LABELS)}  # noqa: E731
    return "".join(
        json.dumps(row() | {"id": n}, ensure_ascii=rng.random() < 0.5) + "\n" for n in range(rng.randint(1, 5))
    )


def write_pairs_jsonl(pairs: Sequence[Values]) -> str:
    return "".join(
        json.dumps(dict(zip(("premise", "hypothesis", "label"), pair, strict=True))) + "\n" for pair in pairs
    )


def simple_pairs_jsonl(text: str) -> list[Values]:
    try:
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    except json.JSONDecodeError:  # an object that goes over several lines
        rows = [json.loads(text)]
    return _labelled(
        [tuple(next(row[n] for n in names if n in row) for names in (PREMISE, HYPOTHESIS, LABEL)) for row in rows]
    )
