"""Check that heads and relations form a dependency tree; remove the subtypes of relations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bistil_ds.errors import InputError
from bistil_ds.tasks.readers.lines import quote

# the universal relations of UD 2: https://universaldependencies.org/u/dep/
RELATIONS = frozenset(
    {"acl", "advcl", "advmod", "amod", "appos", "aux", "case", "cc", "ccomp", "clf", "compound", "conj", "cop"}
    | {"csubj", "dep", "det", "discourse", "dislocated", "expl", "fixed", "flat", "goeswith", "iobj", "list", "mark"}
    | {"nmod", "nsubj", "nummod", "obj", "obl", "orphan", "parataxis", "punct", "reparandum", "root", "vocative"}
    | {"xcomp"}
)


def universal_relation(relation: str) -> str:
    """Return the relation without its language-specific subtype: `nsubj` for `nsubj:pass`.

    Subtypes differ between treebanks, so LAS compares relations without them (CoNLL 2018 shared task:
    https://universaldependencies.org/conll18/evaluation.html).
    """
    return relation.partition(":")[0]


def check_tree(heads: Sequence[int], relations: Sequence[str], where: Callable[[int], str]) -> None:
    """Check that the words form one tree, and that its only root word is the only word with relation `root`.

    Args:
        heads: the 1-based position of each word's head; 0 for a root word.
        relations: the relation of each word to its head.
        where: maps a word's 0-based index to its place in messages.

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
    """Return the 0-based index of the leftmost word of a cycle, or None, in time linear in the number of words."""
    walk_of = [0] * (len(heads) + 1)  # for each 1-based position: the start of the walk that reached it first
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
