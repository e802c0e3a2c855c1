"""Check that heads and relations form a dependency tree, and cut language-specific subtypes off relations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bistil_ds.errors import InputError
from bistil_ds.tasks.readers.lines import quote


def universal_relation(relation: str) -> str:
    """Return the relation without its language-specific subtype: `nsubj` for `nsubj:pass`.

    LAS compares relations without subtypes, which differ between treebanks (CoNLL 2018 shared task, evaluation of LAS:
    https://universaldependencies.org/conll18/evaluation.html).
    """
    return relation.partition(":")[0]


def check_tree(heads: Sequence[int], relations: Sequence[str], where: Callable[[int], str]) -> None:
    """Raise InputError unless the words form one tree under one root word, which alone has relation `root`.

    Args:
        heads: the head of each word as a 1-based position, 0 at the root.
        relations: the relation of each word to its head.
        where: returns the place of the word with a given 0-based index, for the message.

    Raises:
        InputError: the words do not form such a tree; the message names the place of a wrong word.
    """
    roots = []
    for index, (head, relation) in enumerate(zip(heads, relations, strict=True)):
        if head > len(heads):
            raise InputError(f"{where(index)}: HEAD {head} is not in this sentence of {len(heads)} words")
        if head == index + 1:
            raise InputError(f"{where(index)}: HEAD {head} is the word itself; expected another word, or 0 at the root")
        if (head == 0) != (relation == "root"):
            raise InputError(f"{where(index)}: HEAD {head} with relation {quote(relation)}; root goes with HEAD 0 only")
        if head == 0:
            roots.append(index)
    if not roots:
        raise InputError(f"{where(0)}: the sentence that begins here has no root (a word with HEAD 0)")
    if len(roots) > 1:
        raise InputError(f"{where(roots[1])}: a second root (HEAD 0); the first is word {roots[0] + 1}")
    if (inside := _word_in_cycle(heads)) is not None:
        raise InputError(f"{where(inside)}: the HEADs from this word run in a circle that never reaches the root")


def _word_in_cycle(heads: Sequence[int]) -> int | None:
    """Return the 0-based index of the leftmost word of a cycle, or None; the time is linear in the number of words."""
    walk_of = [0] * (len(heads) + 1)  # for each 1-based position: where the walk that first reached it began
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
