"""Test that `best_tree` finds the best tree with one root."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from ufal.chu_liu_edmonds import chu_liu_edmonds

from bistil_ds.tasks.parsing.trees import best_tree


def score_of(scores: np.ndarray, heads: tuple[int, ...] | np.ndarray) -> float:
    return float(sum(scores[i, head] for i, head in enumerate(heads)))


def is_tree(heads: tuple[int, ...] | np.ndarray) -> bool:
    """Return whether exactly one word hangs on the root and every word leads to the root."""
    if sum(head == 0 for head in heads) != 1:
        return False
    for start in range(1, len(heads) + 1):
        node, steps = start, 0
        while node and steps <= len(heads):
            node, steps = int(heads[node - 1]), steps + 1
        if node:
            return False
    return True


def all_trees(words: int) -> list[tuple[int, ...]]:
    return [heads for heads in itertools.product(range(words + 1), repeat=words) if is_tree(heads)]


def best_by_library(scores: np.ndarray) -> float:
    """Return the best score with one root by ufal.chu_liu_edmonds: the best of the trees with each word as root."""
    words = len(scores)
    found = []
    for root in range(1, words + 1):
        matrix = np.full((words + 1, words + 1), np.nan)  # an arc that is nan is not there
        matrix[1:] = scores
        np.fill_diagonal(matrix, np.nan)
        matrix[[word for word in range(1, words + 1) if word != root], 0] = np.nan
        heads, _ = chu_liu_edmonds(matrix)
        found.append(score_of(scores, heads[1:]))
    return max(found)


@pytest.mark.parametrize("words", [1, 2, 3, 4, 5])
def test_no_tree_of_a_short_sentence_scores_higher(words: int) -> None:
    trees = all_trees(words)
    assert len(trees) == words ** (words - 1)  # Cayley's formula for rooted labelled trees
    draw = np.random.default_rng(words)
    for _ in range(40):
        scores = draw.normal(size=(words, words + 1)) * draw.choice([0.01, 1, 100])
        found = best_tree(scores)
        assert is_tree(found)
        assert score_of(scores, found) == pytest.approx(max(score_of(scores, tree) for tree in trees), abs=1e-9)


@pytest.mark.parametrize("words", [2, 3, 5, 12, 30])
def test_it_agrees_with_the_library(words: int) -> None:
    draw = np.random.default_rng(100 + words)
    for kind in range(12):
        scores = draw.normal(size=(words, words + 1))
        if kind % 3 == 0:
            scores[:, 0] += 5  # every word wants the root
        if kind % 3 == 1:
            scores = scores.round(1)  # many ties
        found = best_tree(scores)
        assert is_tree(found)
        assert score_of(scores, found) == pytest.approx(best_by_library(scores), abs=1e-9)


def test_a_root_that_every_word_prefers_gets_only_the_best_of_them() -> None:
    scores = np.full((4, 5), -1.0)
    scores[:, 0] = [8.0, 9.0, 7.0, 8.5]
    scores[0, 2] = 0.0
    assert best_tree(scores).tolist()[1] == 0
    assert is_tree(best_tree(scores))


def test_nested_cycles_are_undone() -> None:
    scores = np.full((4, 5), 0.0)
    scores[0, 2] = scores[1, 1] = 10.0  # the cycle 1 <-> 2 ...
    scores[2, 1] = scores[1, 3] = 9.0  # ... whose contraction makes a cycle with 3
    scores[3, 3] = 5.0
    scores[0, 0] = 3.0
    found = best_tree(scores)
    assert score_of(scores, found) == pytest.approx(best_by_library(scores))


def test_masked_heads_are_avoided() -> None:
    draw = np.random.default_rng(3)
    scores = draw.normal(size=(12, 13))
    scores[:, 5:9] = -1e4
    assert not np.isin(best_tree(scores), [5, 6, 7, 8]).any()


def test_a_sentence_of_one_word_hangs_on_the_root_and_none_gives_none() -> None:
    assert best_tree(np.array([[0.3, 7.0]])).tolist() == [0]
    assert best_tree(np.zeros((0, 1))).tolist() == []


@pytest.mark.parametrize("scores", [np.zeros((3, 3)), np.full((2, 3), np.nan)])
def test_scores_of_another_shape_or_not_finite_are_refused(scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite scores"):
        best_tree(scores)


def test_time_grows_no_faster_than_the_cube_of_the_words() -> None:
    draw = np.random.default_rng(0)

    def seconds(words: int) -> float:
        matrices = draw.normal(size=(60, words, words + 1))  # random scores have more cycles than a parser's
        start = time.process_time()
        for scores in matrices:
            best_tree(scores)
        return time.process_time() - start

    ratios = sorted(seconds(40) / seconds(20) for _ in range(5))
    assert ratios[2] < 12  # the cube would be 8; an exponential search would never end
