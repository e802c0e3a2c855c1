"""Named entity recognition in IOB2; F1 over whole entities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bistil_ds.tasks.examples import TaggedSentence
from bistil_ds.tasks.readers import read_tagged
from bistil_ds.tasks.tagging.tagging import Tagging
from bistil_ds.tasks.task import ReadOptions


class NamedEntities(Tagging):
    """Named entities as IOB2 tags, each word's the most probable one.

    An I- that continues nothing of its type begins an entity, as conlleval and seqeval's default mode have it.
    """

    name = "ner"
    metric = "f1"

    def read(self, source: str, options: ReadOptions) -> Iterator[TaggedSentence]:
        return read_tagged(source, options)

    def labels(self, examples: Sequence[TaggedSentence]) -> tuple[str, ...]:
        """O, and B- and I- for each entity type found, sorted: a type may happen to have no I- in training."""
        types = sorted({tag[2:] for example in examples for tag in example.tags if tag != "O"})
        return ("O", *(prefix + kind for kind in types for prefix in ("B-", "I-")))

    def counts(self, example: TaggedSentence, answer: Sequence[str], language: str | None) -> np.ndarray:
        """Entities found right (type and both ends), entities predicted, entities there are."""
        from seqeval.metrics.sequence_labeling import get_entities  # brings scikit-learn, which takes a second

        found, gold = (set(get_entities(list(tags))) for tags in (answer, example.tags))
        return np.array([len(found & gold), len(found), len(gold)], dtype=np.float64)

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        """Over all types together, as seqeval and conlleval count."""
        right, found, gold = totals.tolist()
        return {
            "f1": 2 * right / (found + gold) if found + gold else 0.0,
            "precision": right / found if found else 0.0,
            "recall": right / gold if gold else 0.0,
        }
