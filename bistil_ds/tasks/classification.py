"""The base class of tasks that give one label to each text or group of texts, scored by accuracy.

Shapes: B rows of a batch, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel

from bistil_ds.errors import InputError
from bistil_ds.tasks.heads import check_class, load_classifier
from bistil_ds.tasks.labels import check_known
from bistil_ds.tasks.padding import pad, pad_inputs
from bistil_ds.tasks.task import Row, Task


class Classification(Task):
    """A task whose examples have a `label` and a `place`, and whose answers are labels.

    A subclass says how to read examples (`read`), how to tokenise them (`features`) and what their texts are
    (`text_key`). Its `features` returns one row for each example, with `input_ids`, `label` (the label's index) and
    `example`; `token_type_ids` is in all rows or in none.
    """

    metric = "accuracy"

    def labels(self, examples: Sequence[Any]) -> tuple[str, ...]:
        """Return the distinct labels of the examples, sorted.

        Raises:
            InputError: all examples have the same label; the message names their files.
        """
        labelled = [example for example in examples if example.label is not None]
        labels = tuple(sorted({example.label for example in labelled}))
        if len(labels) == 1:
            files = ", ".join(sorted({example.place.file for example in labelled}))
            raise InputError(f"--train_file {files}: all examples have the label {labels[0]!r}; expected two or more")
        return labels

    def check_labels(self, examples: Sequence[Any], labels: Sequence[str], flag: str) -> None:
        found = ((example.label, example.place) for example in examples if example.label is not None)
        check_known(found, labels, flag, "label")

    def check_model(self, config: PretrainedConfig) -> None:
        check_class(AutoModelForSequenceClassification, config)

    def load_model(self, folder: str | Path, labels: Sequence[str], **kwargs: Any) -> PreTrainedModel:
        return load_classifier(AutoModelForSequenceClassification, folder, labels, **kwargs)

    def collate(self, rows: Sequence[Row], pad_token_id: int) -> dict[str, Tensor]:
        batch = {**pad_inputs(rows, pad_token_id), "labels": torch.tensor([row["label"] for row in rows])}
        if "token_type_ids" in rows[0]:
            batch["token_type_ids"] = pad([row["token_type_ids"] for row in rows], 0)
        return batch

    def distilled_logits(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the logits [B, C] of all rows, because every row has a label."""
        return [outputs.logits]

    def predict(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[int]:
        """Return for each row the index of its most probable label."""
        numbers: list[int] = outputs.logits.argmax(-1).tolist()
        return numbers

    def decide(self, example: Any, rows: Sequence[Row], predictions: Sequence[int], labels: Sequence[str]) -> str:
        return labels[predictions[0]]

    def counts(self, example: Any, answer: str, language: str | None) -> np.ndarray:
        """Return float64 [2]: whether the answer is right (1 or 0), and 1 for the example itself."""
        return np.array([answer == example.label, 1], dtype=np.float64)

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        right, examples = totals.tolist()
        return {"accuracy": right / examples if examples else 0.0}
