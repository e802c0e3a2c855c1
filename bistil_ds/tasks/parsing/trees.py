"""Find the best dependency tree of a sentence: a maximum spanning arborescence in which the root has one dependent.

This is Chu-Liu/Edmonds on a dense matrix. Every node takes its best head; a cycle is contracted to one node, until no
cycle is left. A penalty on every arc from the root, larger than any difference of two trees' scores, forces exactly one
such arc. A tree with one root arc always exists here, and all of these trees pay the penalty once, so that it does not
change their order.

n words; node 0 is the root, node i is word i.
"""

from __future__ import annotations

import numpy as np


def best_tree(scores: np.ndarray) -> np.ndarray:
    """Find the highest-scoring tree in which exactly one word has the root as its head.

    Args:
        scores: finite [n, n + 1]; row i has the score of each head for word i + 1, and column 0 is the root. The
            score of a word as its own head does not matter.

    Returns:
        int64 [n]: the head of each word, 0 for the root, else a 1-based word position.

    Raises:
        ValueError: `scores` is not of that shape, or not finite.
    """
    words = len(scores)
    if scores.shape != (words, words + 1) or not np.isfinite(scores).all():
        raise ValueError(f"expected finite scores [n, n + 1], got {scores.shape}")
    if words < 2:
        return np.zeros(words, dtype=np.int64)
    matrix = np.full((words + 1, words + 1), -np.inf)
    matrix[1:] = scores
    penalty = words * (matrix[1:].max() - matrix[1:].min() + 1)
    matrix[1:, 0] -= penalty
    np.fill_diagonal(matrix, -np.inf)
    return _arborescence(matrix)[1:]


def _arborescence(score: np.ndarray) -> np.ndarray:
    """Return the heads of the best arborescence rooted in node 0.

    `score[d, h]` is the score of head h for dependent d, with row 0 all -inf; it is overwritten. The first node of a
    cycle stands for the contracted cycle; the rows and columns of its other nodes become -inf. `dependent` and `head`
    hold, for each score between two nodes, the arc between words that it belongs to.
    """
    nodes = len(score)
    head, dependent = np.meshgrid(np.arange(nodes), np.arange(nodes))
    owner = np.arange(nodes)  # the node that each word is part of
    alive = np.arange(nodes) > 0
    contracted: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    while True:
        best = np.where(alive, score.argmax(axis=1), 0)
        cycle = _cycle(best)
        if cycle is None:
            break
        inner = best[cycle]
        contracted.append((cycle, dependent[cycle, inner], head[cycle, inner], owner.copy()))
        _contract(cycle, score, inner, dependent, head)
        alive[cycle[1:]] = False
        owner[np.isin(owner, cycle)] = cycle[0]
    every = np.arange(nodes)
    to, source = dependent[every, best], head[every, best]  # the arc chosen for each node
    for cycle, inner_to, inner_source, owner_before in reversed(contracted):
        entering = to[cycle[0]], source[cycle[0]]
        to[cycle], source[cycle] = inner_to, inner_source
        entered = owner_before[entering[0]]
        to[entered], source[entered] = entering
    return source


def _contract(cycle: np.ndarray, score: np.ndarray, inner: np.ndarray, dependent: np.ndarray, head: np.ndarray) -> None:
    """Contract the cycle to its first node, in place."""
    node, every = cycle[0], np.arange(len(score))
    into = score[cycle] - score[cycle, inner][:, None]  # what replacing a cycle's arc by an arc from outside gains
    member = into.argmax(axis=0)
    score[node], entered = into[member, every], cycle[member]
    dependent[node], head[node] = dependent[entered, every], head[entered, every]
    left = cycle[score[:, cycle].argmax(axis=1)]
    column = score[every, left]
    dependent[:, node], head[:, node] = dependent[every, left], head[every, left]
    score[:, node] = column
    score[cycle[1:]] = -np.inf
    score[:, cycle[1:]] = -np.inf
    score[node, node] = -np.inf


def _cycle(heads: np.ndarray) -> np.ndarray | None:
    """Return the nodes of one cycle of `heads`, or None; node 0 belongs to no cycle."""
    seen = np.zeros(len(heads), dtype=np.int64)
    seen[0] = -1
    parent = heads.tolist()
    for start in range(1, len(parent)):
        node = start
        while not seen[node]:
            seen[node] = start
            node = parent[node]
        if seen[node] == start:
            cycle = [node]
            while (following := parent[cycle[-1]]) != node:
                cycle.append(following)
            return np.array(cycle)
    return None
