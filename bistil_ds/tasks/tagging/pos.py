"""Part-of-speech tagging with the universal tags of CoNLL-U, scored by accuracy over words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bistil_ds.tasks.examples import TaggedSentence
from bistil_ds.tasks.readers import read_upos
from bistil_ds.tasks.readers.conllu import UPOS
from bistil_ds.tasks.tagging.tagging import Tagging
from bistil_ds.tasks.task import ReadOptions


class PartOfSpeech(Tagging):
    """Universal part-of-speech tagging, with the settings of named entities, because BiStil publishes none."""

    name = "pos"
    metric = "accuracy"
    universal = UPOS

    def read(self, source: str, options: ReadOptions) -> Iterator[TaggedSentence]:
        return read_upos(source, options)

    def labels(self, examples: Sequence[TaggedSentence]) -> tuple[str, ...]:
        """Return the distinct tags of the examples, sorted."""
        return tuple(sorted({tag for example in examples for tag in example.tags}))

    def counts(self, example: TaggedSentence, answer: Sequence[str], language: str | None) -> np.ndarray:
        """Return float64 [2]: the number of words tagged right, and that of all words."""
        right = sum(tag == gold for tag, gold in zip(answer, example.tags))
        return np.array([right, len(example.tags)], dtype=np.float64)

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        right, words = totals.tolist()
        return {"accuracy": right / words if words else 0.0}
