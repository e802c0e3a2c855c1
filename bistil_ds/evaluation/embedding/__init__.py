"""Evaluation of sentence vectors: parallel texts, scored pairs, retrieval, and likeness to the reference's vectors."""

from bistil_ds.evaluation.embedding.bitext import translations_found
from bistil_ds.evaluation.embedding.correlation import spearman
from bistil_ds.evaluation.embedding.ranking import ndcg, recall
from bistil_ds.evaluation.embedding.search import nearest, normalised

__all__ = ["ndcg", "nearest", "normalised", "recall", "spearman", "translations_found"]
