"""Named entity recognition with IOB2 tags, scored by F1 over whole entities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import TaggedSentence
from bistil_ds.tasks.readers import read_tagged
from bistil_ds.tasks.tag_schemes import ModelTags, to_iob2
from bistil_ds.tasks.tagging.tagging import Tagging
from bistil_ds.tasks.task import ReadOptions


class NamedEntities(Tagging):
    """Named entities as IOB2 tags; each word gets its most probable tag.

    A new model has IOB2 tags, and an existing one those of any scheme. A predicted I- tag that continues no entity of
    its type begins one, as in conlleval and seqeval's default mode.
    """

    name = "ner"
    metric = "f1"

    def read(self, source: str, options: ReadOptions) -> Iterator[TaggedSentence]:
        return read_tagged(source, options)

    def labels(self, examples: Sequence[TaggedSentence]) -> tuple[str, ...]:
        """Return O, then B- and I- of each entity type, sorted by type, even if the examples lack one of the two.

        Raises:
            InputError: `--label_map` maps tags to the names that an existing model has for them (`LABEL_1`); the model
                that gets these labels is new.
        """
        for name, tag in _meanings(examples).items():
            raise InputError(
                f"--label_map {tag}={name}: a new model's tags are O, B-TYPE and I-TYPE; such names are for evaluating "
                "a model that has them"
            )
        types = sorted({tag[2:] for example in examples for tag in example.tags if tag != "O"})
        return ("O", *(prefix + kind for kind in types for prefix in ("B-", "I-")))

    def names(self, examples: Sequence[TaggedSentence], labels: Sequence[str]) -> list[list[str | None]]:
        model = ModelTags(labels, _meanings(examples))
        return [model.name(example.tags) for example in examples]

    def counts(self, example: TaggedSentence, answer: Sequence[str], language: str | None) -> np.ndarray:
        """Return float64 [3]: the entities predicted right (type and both ends), all predicted, and all gold ones."""
        from seqeval.metrics.sequence_labeling import get_entities  # imports scikit-learn, which takes a second

        read = to_iob2([example.meanings.get(tag, tag) for tag in answer])
        found, gold = set(get_entities(read)), set(get_entities(list(example.tags)))
        return np.array([len(found & gold), len(found), len(gold)], dtype=np.float64)

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        """Compute F1, precision and recall over the entities of all types together, as seqeval and conlleval do."""
        right, found, gold = totals.tolist()
        return {
            "f1": 2 * right / (found + gold) if found + gold else 0.0,
            "precision": right / found if found else 0.0,
            "recall": right / gold if gold else 0.0,
        }


def _meanings(examples: Sequence[TaggedSentence]) -> Mapping[str, str]:
    return next((example.meanings for example in examples if example.meanings), {})
