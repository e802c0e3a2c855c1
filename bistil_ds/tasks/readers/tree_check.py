"""What makes heads and relations a dependency tree, and which part of a relation counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bistil_ds.errors import InputError
from bistil_ds.tasks.readers.lines import shown


def universal_relation(relation: str) -> str:
    """The relation without its language-specific subtype: `nsubj` of `nsubj:pass`.

    LAS compares these only, since subtypes differ between treebanks (CoNLL 2018 shared task, evaluation of LAS:
    https://universaldependencies.org/conll18/evaluation.html).
    """
    return relation.partition(":")[0]


def check_tree(heads: Sequence[int], relations: Sequence[str], where: Callable[[int], str]) -> None:
    """Pass when the words form one tree under one root whose relation is `root`.

    Args:
        heads: head of each word, a 1-based position, 0 at the root.
        relations: the relation of each word to its head.
        where: names the place of a word, by its 0-based index, for the message.

    Raises:
        InputError: naming the place of the first word that is wrong.
    """
    roots = []
    for index, (head, relation) in enumerate(zip(heads, relations, strict=True)):
        if head > len(heads):
            raise InputError(f"{where(index)}: HEAD {head} is not in this sentence of {len(heads)} words")
        if head == index + 1:
            raise InputError(f"{where(index)}: HEAD {head} is the word itself; expected another word, or 0 at the root")
        if (head == 0) != (relation == "root"):
            raise InputError(f"{where(index)}: HEAD {head} with relation {shown(relation)}; root goes with HEAD 0 only")
        if head == 0:
            roots.append(index)
    if not roots:
        raise InputError(f"{where(0)}: the sentence that begins here has no root (a word with HEAD 0)")
    if len(roots) > 1:
        raise InputError(f"{where(roots[1])}: a second root (HEAD 0); the first is word {roots[0] + 1}")
    if (inside := _word_in_cycle(heads)) is not None:
        raise InputError(f"{where(inside)}: the HEADs from this word run in a circle that never reaches the root")


def _word_in_cycle(heads: Sequence[int]) -> int | None:
    """The 0-based index of the first word of the first cycle found; each word is walked over once."""
    walk_of = [0] * (len(heads) + 1)  # by 1-based position: the walk that first came by
    walk_of[0] = -1
    for start in range(1, len(heads) + 1):
        position = start
        while walk_of[position] == 0:
            walk_of[position] = start
            position = heads[position - 1]
        if walk_of[position] == start:
            cycle = {position}
            while (position := heads[position - 1]) not in cycle:
                cycle.add(position)
            return min(cycle) - 1
    return None
