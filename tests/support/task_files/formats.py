"""Formats of task data for the fuzz test: makers of random valid files, writers, and simple readers to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from reading import Reader

from bistil_ds.tasks.readers import read_pairs, read_questions, read_tagged, read_texts, read_trees, read_upos
from task_files.drawing import Values, draw_words
from task_files.pairs import make_pairs_jsonl, make_tsv, simple_pairs_jsonl, simple_tsv, write_pairs_jsonl
from task_files.questions import make_squad, simple_squad, write_squad
from task_files.tags import make_iob2, make_numbered, simple_iob2, simple_numbered, write_iob2, write_numbered
from task_files.trees import make_conllu, simple_trees, simple_upos, write_trees, write_upos


@dataclass(frozen=True)
class Format:
    """A format of task data: how its files are made, written and read a second time.

    Attributes:
        make: returns the text of a random valid file.
        write: returns the text of the canonical file of some examples, each a tuple of its values.
        simple: reads the examples' values without any check, from text that the real reader accepted.
    """

    name: str
    reader: Reader
    suffix: str
    make: Callable[[Random], str]
    write: Callable[[Sequence[Values]], str]
    simple: Callable[[str], list[Values]]


def make_text(rng: Random) -> str:
    return "".join(rng.choice(["", " ".join(draw_words(rng))]) + "\n" for _ in range(rng.randint(1, 8))) + "end\n"


def simple_text(text: str) -> list[Values]:
    return [(line.rstrip("\r"),) for line in text.split("\n") if line.strip()]


FORMATS = [
    Format("trees", read_trees, ".conllu", make_conllu, write_trees, simple_trees),
    Format("upos", read_upos, ".conllu", make_conllu, write_upos, simple_upos),
    Format("tagged", read_tagged, ".iob2", make_iob2, write_iob2, simple_iob2),
    Format("numbered", read_tagged, ".uner", make_numbered, write_numbered, simple_numbered),
    Format(
        "pairs",
        read_pairs,
        ".tsv",
        make_tsv,
        lambda pairs: "".join("\t".join(row) + "\n" for row in [("premise", "hypothesis", "label"), *pairs]),
        simple_tsv,
    ),
    Format("pairs in JSONL", read_pairs, ".jsonl", make_pairs_jsonl, write_pairs_jsonl, simple_pairs_jsonl),
    Format("questions", read_questions, ".json", make_squad, write_squad, simple_squad),
    Format("texts", read_texts, ".txt", make_text, lambda texts: "".join(f"{t}\n" for (t,) in texts), simple_text),
]
