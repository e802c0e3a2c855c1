"""The annotated examples that the readers of task data yield, each with its place in the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NOWHERE = -1  # the index of an answer whose place in the context is not known


@dataclass(frozen=True, slots=True)
class Place:
    """Where an example begins: a file (or hub data set), and a line (or row, or paragraph) counted from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """A sentence with one tag for each word: a part-of-speech tag, or an IOB2 tag of an entity; or without tags.

    `meanings` maps those labels of the evaluated model that are not IOB2 tags, such as `LABEL_1`, to IOB2 tags.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    place: Place
    meanings: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Tree:
    """A dependency tree.

    `heads` holds for each word the 1-based position of its head, or 0 if its head is the root. `relations` holds for
    each word the name of the arc to its head.
    """

    words: tuple[str, ...]
    upos: tuple[str, ...]
    heads: tuple[int, ...]
    relations: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class SentencePair:
    """A premise, a hypothesis and the label of their relation; None: it has no label."""

    premise: str
    hypothesis: str
    label: str | None
    place: Place


@dataclass(frozen=True, slots=True)
class Question:
    """A question on a context, with its answers: (text, index of the text's first character in the context).

    The index is `NOWHERE` if the answer's place is not known: it is scored by its text, but not learned. `answers` is
    empty if the context does not answer the question.
    """

    id: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text, for language modelling."""

    text: str
    place: Place
