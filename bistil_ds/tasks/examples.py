"""What the readers of task data yield: one annotated example, and where in its file it stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where an example begins: `file` (or hub id) and 1-based `line` (or row, or paragraph number)."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """Words with a tag each: part-of-speech tags, or IOB2 tags of entities."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Tree:
    """A dependency tree: `heads` are 1-based positions of the head word, 0 at the root; `relations` name the arcs."""

    words: tuple[str, ...]
    upos: tuple[str, ...]
    heads: tuple[int, ...]
    relations: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class SentencePair:
    """A premise, a hypothesis and how they relate."""

    premise: str
    hypothesis: str
    label: str
    place: Place


@dataclass(frozen=True, slots=True)
class Question:
    """A question on a context; each answer is (text, first character in the context). No answer: an empty tuple."""

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
