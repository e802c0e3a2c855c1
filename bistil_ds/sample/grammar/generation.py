"""Generate parallel annotated sentences: one meaning, said in three languages."""

from __future__ import annotations

import random
from collections.abc import Iterator

from bistil_ds.sample.grammar import english, swahili, turkish
from bistil_ds.sample.grammar.annotation import Sentence
from bistil_ds.sample.grammar.planning import Planner

LANGUAGES = ("en", "tr", "sw")
Parallel = dict[str, Sentence]


def sentences(n: int, seed: int = 0) -> Iterator[Parallel]:
    """Draw `n` meanings; yield each as {"en": Sentence, "tr": Sentence, "sw": Sentence}.

    The same seed gives the same sentences.
    """
    planner = Planner(random.Random(f"bistil_ds sample {seed}"))
    for _ in range(n):
        meaning = planner.meaning()
        yield {"en": english.sentence(meaning), "tr": turkish.sentence(meaning), "sw": swahili.sentence(meaning)}
