"""Read pairs of premise and hypothesis with the label of their relation, for natural language inference."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from bistil_ds.errors import InputError, Notice
from bistil_ds.tasks.examples import SentencePair
from bistil_ds.tasks.readers.hub import NO_LABEL
from bistil_ds.tasks.readers.json_values import text_at
from bistil_ds.tasks.readers.lines import quote
from bistil_ds.tasks.readers.records import records
from bistil_ds.tasks.task import ReadOptions

LABELS = ("entailment", "neutral", "contradiction", "not_entailment")  # the last is for two-class sets such as RTE
COLUMNS = {"premise": ("sentence1",), "hypothesis": ("sentence2",), "label": ("gold_label",)}  # SNLI, MultiNLI, XNLI


def read_pairs(source: str, options: ReadOptions) -> Iterator[SentencePair]:
    """Stream the pairs of a TSV file with a header, a JSONL file or a hub data set; see `records`.

    The columns are `premise`, `hypothesis` and `label`, or, as in SNLI, MultiNLI and XNLI, `sentence1`, `sentence2` and
    `gold_label`. A pair on which the annotators did not agree (label `-`; in hub data sets class -1) has no right
    answer. Such pairs are left out, and a warning gives their number.

    Raises:
        InputError: `records` raises it; a sentence is blank; a label, once renamed by `options.label_map`, is not among
            `LABELS` (so numbers must be renamed); or no pair has a label.
    """
    pairs = unlabelled = 0
    for place, where, record in records(source, options, COLUMNS):
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


def _label(found: Any, options: ReadOptions, where: str) -> str:
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise InputError(f"{where}: label is {quote(found)}; expected one of {', '.join(LABELS)}")
    label = options.label_map.get(str(found), str(found))
    if label not in LABELS and label != NO_LABEL:
        hint = f"name it with --label_map {quote(str(found))[1:-1]}=NAME" if str(found) else "every pair has one"
        raise InputError(f"{where}: label is {quote(label)}; expected one of {', '.join(LABELS)}; {hint}")
    return label
