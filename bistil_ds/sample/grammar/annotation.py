"""Build phrases, in which each word points at its head word, and turn them into annotated sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(eq=False)
class Word:
    """A syntactic word. `head` is None for the root; `entity` is an IOB2 tag."""

    form: str
    upos: str
    entity: str = "O"
    space_after: bool = True
    head: Word | None = None
    relation: str = "root"


class Phrase:
    """A head word and everything that depends on it, in surface order; new dependents join at either end."""

    def __init__(self, head: Word) -> None:
        self.head = head
        self.words = [head]

    def left(self, dependent: Phrase | None, relation: str) -> Phrase:
        """Put `dependent` before all words so far; None adds nothing."""
        if dependent is not None:
            dependent.head.head, dependent.head.relation = self.head, relation
            self.words = dependent.words + self.words
        return self

    def right(self, dependent: Phrase | None, relation: str) -> Phrase:
        """Put `dependent` after all words so far; None adds nothing."""
        if dependent is not None:
            dependent.head.head, dependent.head.relation = self.head, relation
            self.words = self.words + dependent.words
        return self

    def lefts(self, dependents: Sequence[tuple[Phrase | None, str]]) -> Phrase:
        """Put `dependents`, given in surface order, before all words so far."""
        for dependent, relation in reversed(dependents):
            self.left(dependent, relation)
        return self

    def rights(self, dependents: Sequence[tuple[Phrase | None, str]]) -> Phrase:
        """Put `dependents`, given in surface order, after all words so far."""
        for dependent, relation in dependents:
            self.right(dependent, relation)
        return self


Dependents = list[tuple[Phrase | None, str]]  # (dependent, its relation) in surface order; None adds nothing


def word(form: str, upos: str) -> Phrase:
    """Make a phrase of one word."""
    return Phrase(Word(form, upos))


def comma() -> Phrase:
    """Make a comma, to be attached with relation `punct`."""
    return word(",", "PUNCT")


def fixed_phrase(pattern: str) -> Phrase:
    """Make a phrase from items `form:UPOS:relation`, such as "every:DET:det day:NOUN"; the head lacks a relation."""
    items = [item.split(":") for item in pattern.split()]
    at = next(i for i, item in enumerate(items) if len(item) == 2)
    phrase = word(*items[at])
    phrase.lefts([(word(form, upos), relation) for form, upos, relation in items[:at]])
    return phrase.rights([(word(form, upos), relation) for form, upos, relation in items[at + 1 :]])


def name_phrase(tokens: Sequence[str], kind: str) -> Phrase:
    """Make a proper name of entity type `kind` (PER, LOC, ORG).

    The first token is the head; the others depend on it with relation `flat`.
    """
    phrase = word(tokens[0], "PROPN")
    for token in tokens[1:]:
        phrase.right(word(token, "PROPN"), "flat")
    for i, part in enumerate(phrase.words):
        part.entity = ("I-" if i else "B-") + kind
    return phrase


@dataclass(frozen=True)
class Sentence:
    """An annotated sentence; every field has one entry for each token.

    tokens       surface forms
    upos         Universal Dependencies part-of-speech tags
    heads        1-based position of the head, 0 for the root
    relations    Universal Dependencies relations (no subtypes)
    entities     IOB2 tags over PER, LOC, ORG
    space_after  whether a space follows the token in the text
    """

    tokens: tuple[str, ...]
    upos: tuple[str, ...]
    heads: tuple[int, ...]
    relations: tuple[str, ...]
    entities: tuple[str, ...]
    space_after: tuple[bool, ...]

    @property
    def text(self) -> str:
        """Return the sentence as it is written."""
        return "".join(token + (" " if space else "") for token, space in zip(self.tokens, self.space_after)).rstrip()


def annotate(phrase: Phrase, mark: str, dotted_i: bool = False) -> Sentence:
    """Turn a phrase into a sentence: add the punctuation `mark`, and capitalise the first word.

    dotted_i: whether the capital of i is İ, as in Turkish.
    """
    phrase.right(word(mark, "PUNCT"), "punct")
    words = phrase.words
    position = {id(w): i for i, w in enumerate(words, start=1)}
    first = words[0].form
    capital = "İ" if dotted_i and first[0] == "i" else first[0].upper()
    # no space stands before a punctuation mark
    spaces = [w.space_after and after.upos != "PUNCT" for w, after in pairwise(words)] + [True]
    return Sentence(
        tokens=(capital + first[1:], *(w.form for w in words[1:])),
        upos=tuple(w.upos for w in words),
        heads=tuple(position[id(w.head)] if w.head else 0 for w in words),
        relations=tuple(w.relation for w in words),
        entities=tuple(w.entity for w in words),
        space_after=tuple(spaces),
    )
