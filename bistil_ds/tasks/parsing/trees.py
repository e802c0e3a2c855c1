"""Find the best dependency tree of a sentence: a maximum spanning arborescence in which the root has one dependent.

This is the algorithm of Chu, Liu and Edmonds on a dense matrix: every node takes its best head, and while these heads
form a cycle, the cycle is contracted to one node. A penalty on every arc from the root forces one such arc, because it
is larger than the difference between the scores of any two trees. A tree with one arc from the root always exists, and
all of these trees pay the penalty once, so it does not change their order.

Shapes: n words. Node 0 is the root, node i is word i.
"""

from __future__ import annotations

import numpy as np


def best_tree(scores: np.ndarray) -> np.ndarray:
    """Find the highest-scoring tree in which exactly one word has the root as its head.

    Args:
        scores: finite [n, n + 1]. Row i holds the score of each head for word i + 1; column 0 is the root, column j is
            word j. The score of a word as its own head does not matter.

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

    `score[d, h]` is the score of head h for dependent d; row 0 is all -inf, and the matrix is overwritten. The first
    node of a cycle stands for the contracted cycle; the rows and columns of the cycle's other nodes become -inf. A
    score between two nodes then belongs to an arc between two of their words: from word `head[d, h]` to word
    `dependent[d, h]`.
    """
    nodes = len(score)
    head, dependent = np.meshgrid(np.arange(nodes), np.arange(nodes))
    owner = np.arange(nodes)  # for each word: the node that stands for it
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
    into = score[cycle] - score[cycle, inner][:, None]  # gain of replacing an arc of the cycle by one from outside
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
