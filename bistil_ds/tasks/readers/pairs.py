"""Read pairs of premise and hypothesis with the label of their relation, for natural language inference."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from bistil_ds.errors import InputError, Notice
from bistil_ds.tasks.examples import SentencePair
from bistil_ds.tasks.labels import map_advice
from bistil_ds.tasks.readers.hub import NO_LABEL
from bistil_ds.tasks.readers.json_values import text_at
from bistil_ds.tasks.readers.lines import quote
from bistil_ds.tasks.readers.records import records
from bistil_ds.tasks.task import ReadOptions

LABELS = ("entailment", "neutral", "contradiction", "not_entailment")  # the last: data sets with two classes (RTE)
OTHER_NAMES = {
    "e": "entailment",  # e, n and c: ANLI
    "n": "neutral",
    "c": "contradiction",
    "entails": "entailment",  # SciTail
    "contradictory": "contradiction",  # XNLI's translated training set
    "not entailment": "not_entailment",
    "not-entailment": "not_entailment",
    "-1": NO_LABEL,  # class number that hub data sets give to pairs without a label
}
NUMBERS = "0=entailment 1=neutral 2=contradiction"  # the order of XNLI and MultiNLI on the hub
COLUMNS = {
    "premise": ("sentence1", "context"),  # sentence1 and sentence2: SNLI, MultiNLI, XNLI, PAWS-X; context: ANLI
    "hypothesis": ("sentence2", "hypo"),  # hypo: XNLI's translated training set
    "label": ("gold_label",),
}


def read_pairs(source: str, options: ReadOptions) -> Iterator[SentencePair]:
    """Stream the pairs in `options.language` of a table, of JSON or of a hub data set, as `records` reads them.

    The columns are `premise`, `hypothesis` and `label`, or have the names that SNLI, MultiNLI, XNLI, ANLI and PAWS-X
    give them. The case of labels does not matter. A pair on which the annotators did not agree has no right answer; its
    label is `-`, or -1 in hub data sets and files exported from them. Such pairs are left out, and a warning gives
    their number.

    Raises:
        InputError: `records` raises it; a sentence is blank; a label is neither one of `LABELS`, in any spelling in
            `OTHER_NAMES`, nor known to `options.label_map` (class numbers must be); or no pair has a label.
    """
    pairs = unlabelled = 0
    for place, where, record in records(source, options, COLUMNS, lambda cells: _is_pair(cells, options)):
        premise, hypothesis = text_at(record, "premise", where), text_at(record, "hypothesis", where)
        label = _label(record["label"], options, where)
        if label == NO_LABEL:
            unlabelled += 1
            continue
        pairs += 1
        yield SentencePair(premise, hypothesis, label, place)
    if not pairs:
        raise InputError(f"{options.flag}: {source} has no pair with a label; all {unlabelled} have {NO_LABEL!r}")
    if unlabelled:
        counted = f"left out {unlabelled} of {pairs + unlabelled} pairs, which have no gold label ({NO_LABEL!r})"
        warnings.warn(f"{options.flag}: {source}: {counted}", Notice, stacklevel=2)


def _is_pair(cells: Mapping[str, str], options: ReadOptions) -> bool:
    return _known(cells["label"], options) is not None


def _known(found: str, options: ReadOptions) -> str | None:
    """Return the label that `found` means, renamed as `options.label_map` says; None if `found` is no label."""
    if found in options.label_map:
        return options.label_map[found]
    plain = found.strip().lower()
    label = OTHER_NAMES.get(plain, plain)
    label = options.label_map.get(label, label)
    return label if label in (*LABELS, NO_LABEL, *options.label_map.values()) else None


def _label(found: Any, options: ReadOptions, where: str) -> str:
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise InputError(f"{where}: label is {quote(found)}; expected one of {', '.join(LABELS)}")
    label = _known(str(found), options)
    if label is None:
        number = str(found).isdecimal() and len(str(found)) == 1
        hint = f"; say what each number means, such as --label_map {NUMBERS}"
        hint = hint if number else map_advice(str(found), "neutral")
        raise InputError(f"{where}: label is {quote(str(found))}; expected one of {', '.join(LABELS)}{hint}")
    return label
