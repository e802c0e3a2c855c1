"""Test the metrics against scipy, trec_eval (which mteb uses) and definitions written out, ties and duplicates too."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from scipy import stats

from bistil_ds.evaluation.embedding import agreement, bitext, correlation, ranking
from bistil_ds.evaluation.embedding.agreement import cosines, shares_in_common
from bistil_ds.evaluation.embedding.bitext import translations_found
from bistil_ds.evaluation.embedding.correlation import spearman
from bistil_ds.evaluation.embedding.ranking import ndcg, recall
from bistil_ds.evaluation.embedding.search import nearest, normalised


def translations(pairs: int = 60, noise: float = 0.9, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of sentences and of noisy translations; a sentence and a translation are there twice."""
    draw = np.random.default_rng(seed)
    source = draw.standard_normal((pairs, 8))
    target = source + noise * draw.standard_normal((pairs, 8))
    source[[7, 19]] = target[[7, 19]] = source[7]
    target[11] = target[3]
    return normalised(source), normalised(target)


def best_by_margin(source: np.ndarray, target: np.ndarray, k: int = 4) -> list[int]:
    """Return the best of each source's k nearest targets by ratio margin, as Artetxe & Schwenk define it (eq. 1)."""
    cosine = source.astype(float) @ target.T.astype(float)
    means_of_source = [np.mean(sorted(row)[-k:]) for row in cosine]
    means_of_target = [np.mean(sorted(column)[-k:]) for column in cosine.T]
    found = []
    for i, row in enumerate(cosine):
        candidates = sorted(range(len(row)), key=lambda j: (-row[j], j))[:k]
        scores = {j: row[j] / (means_of_source[i] / 2 + means_of_target[j] / 2) for j in candidates}
        found.append(max(candidates, key=lambda j: scores[j]))
    return found


def test_translations_are_found_both_ways_by_cosine_and_by_margin() -> None:
    source, target = translations()
    found, own = translations_found(source, target), np.arange(60)
    cosine = source @ target.T
    assert found["forward"].tolist() == (cosine.argmax(1) == own).tolist()
    assert found["backward"].tolist() == (cosine.argmax(0) == own).tolist()
    assert found["margin_forward"].tolist() == (np.array(best_by_margin(source, target)) == own).tolist()
    assert found["margin_backward"].tolist() == (np.array(best_by_margin(target, source)) == own).tolist()
    assert len({each.tobytes() for each in found.values()}) == 4
    assert (found["forward"][7], found["forward"][19]) == (True, False)  # of two equal ones the first one counts


def test_the_margin_mends_a_hub() -> None:
    """A target near to every source draws them all by cosine; over its own mean it is far from each."""
    angles = np.radians([0, 20, 40, 60, 80])
    source = np.stack([np.cos(angles), np.sin(angles), np.zeros(5)], 1)
    target = 0.5 * source + [0, 0, 0.87]
    target[2] = source.mean(0)
    found = translations_found(normalised(source), normalised(target))
    assert found["margin_forward"].sum() > found["forward"].sum()


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"source vectors are \(2, 3\), target vectors \(2, 4\)"):
        translations_found(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32))


def test_one_pair_and_vectors_of_zeros_have_an_answer() -> None:
    assert all(
        each.all() for each in translations_found(np.ones((1, 2), np.float32), np.zeros((1, 2), np.float32)).values()
    )


@pytest.mark.parametrize("levels", [1000, 4])
def test_spearman_is_scipys_with_ties_and_in_every_resample(levels: int) -> None:
    draw = np.random.default_rng(levels)
    one = np.round(draw.random(50) * levels)
    other = np.round((one + draw.random(50) * levels) / 2)
    weights = np.concatenate([np.ones((1, 50)), draw.multinomial(50, np.full(50, 0.02), size=20)])
    found = spearman(one, other, weights)
    for row, value in zip(weights.astype(int), found, strict=True):
        assert value == pytest.approx(stats.spearmanr(np.repeat(one, row), np.repeat(other, row)).statistic, abs=1e-12)


def test_spearman_of_equal_values_is_0() -> None:
    assert spearman(np.ones(5), np.arange(5.0), np.ones((1, 5))).tolist() == [0]


def test_ndcg_and_recall_are_trec_evals_with_ties_grades_and_more_documents_than_counted() -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    draw = np.random.default_rng(5)
    queries, documents = draw.integers(-2, 3, (12, 4)).astype(np.float32), draw.integers(-2, 3, (130, 4))
    names = sorted((str(number) for number in range(130)), reverse=True)  # the order in which trec_eval breaks ties
    judged = [{int(d): int(draw.integers(-1, 4)) for d in draw.choice(130, 40, replace=False)} for _ in queries]
    _, ranked = nearest(queries, documents.astype(np.float32), 100)
    run = {
        str(q): {names[d]: float(value) for d, value in enumerate(row)} for q, row in enumerate(queries @ documents.T)
    }
    known = pytrec_eval.RelevanceEvaluator(
        {str(q): {names[d]: grade for d, grade in each.items()} for q, each in enumerate(judged)},
        {"ndcg_cut.10", "recall.100"},
    ).evaluate(run)
    for q, (found, relevance) in enumerate(zip(ranked.tolist(), judged, strict=True)):
        assert ndcg(found, relevance) == pytest.approx(known[str(q)]["ndcg_cut_10"])
        assert recall(found, relevance) == pytest.approx(known[str(q)]["recall_100"])
    assert len({round(each["recall_100"], 3) for each in known.values()}) > 3


def test_likeness_is_cosine_and_common_neighbours() -> None:
    one, other = translations(20)
    assert cosines(one, other) == pytest.approx([float(a @ b) for a, b in zip(one, other, strict=True)], abs=1e-6)
    assert np.isnan(cosines(one, other[:, :5])).all()
    assert shares_in_common(
        np.array([[1, 2, 3, 4], [0, 2, 3, 4]]), np.array([[4, 3, 9, 8], [4, 3, 2, 0]])
    ).tolist() == [0.5, 1]


@pytest.mark.parametrize("module", [agreement, bitext, correlation, ranking])
def test_the_examples_are_true(module: object) -> None:
    found = doctest.testmod(module, extraglobs={"np": np})  # type: ignore[arg-type]
    assert (found.failed, found.attempted > 0) == (0, True)
