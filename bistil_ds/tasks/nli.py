"""Natural language inference: decide how a hypothesis relates to a premise; scored by accuracy.

B rows of a batch, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import SentencePair
from bistil_ds.tasks.heads import load_classifier
from bistil_ds.tasks.labels import check_known
from bistil_ds.tasks.padding import pad, pad_inputs
from bistil_ds.tasks.readers import read_pairs
from bistil_ds.tasks.task import ReadOptions, Row, Task
from bistil_ds.tasks.text_key import text_key


class Inference(Task):
    """Inference, which gives one label to each pair of sentences.

    A pair that is too long loses tokens from the end of its longer sentence; once both are equally long, from both.
    """

    name = "nli"
    metric = "accuracy"
    full_epochs = 5
    sparse_epochs = 5
    learning_rate = 2e-5

    def read(self, source: str, options: ReadOptions) -> Iterator[SentencePair]:
        return read_pairs(source, options)

    def labels(self, examples: Sequence[SentencePair]) -> tuple[str, ...]:
        """Return the distinct labels of the examples, sorted."""
        return tuple(sorted({example.label for example in examples}))

    def check_labels(self, examples: Sequence[SentencePair], labels: Sequence[str], flag: str) -> None:
        check_known(((example.label, example.place) for example in examples), labels, flag, "label", labels[0])

    def features(
        self,
        examples: Sequence[SentencePair],
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        max_length: int,
        *,
        training: bool,
    ) -> list[Row]:
        """Return rows of `input_ids`, `label`, `example`, and `token_type_ids` if the tokenizer gives the two sentences
        different types.

        Raises:
            InputError: `max_length` leaves no room for a token of each sentence.
        """
        if not examples:
            return []
        fewest = tokenizer.num_special_tokens_to_add(pair=True) + 2
        if max_length < fewest:
            raise InputError(f"--max_length {max_length}: leaves no room for two sentences; expected at least {fewest}")
        number = {label: i for i, label in enumerate(labels)}
        encoded = tokenizer(
            [example.premise for example in examples],
            [example.hypothesis for example in examples],
            truncation="longest_first",
            max_length=max_length,
            return_token_type_ids=True,
        )
        rows: list[Row] = [
            {"input_ids": ids, "label": number[example.label], "example": i}
            for i, (example, ids) in enumerate(zip(examples, encoded["input_ids"]))
        ]
        for row, types in zip(rows, encoded["token_type_ids"]):
            if any(types):  # types that are all 0 are left out: the model may know only type 0
                row["token_type_ids"] = types
        return rows

    def load_model(self, folder: str | Path, labels: Sequence[str], **kwargs: Any) -> PreTrainedModel:
        return load_classifier(AutoModelForSequenceClassification, folder, labels, **kwargs)

    def collate(self, rows: Sequence[Row], pad_token_id: int) -> dict[str, Tensor]:
        batch = {**pad_inputs(rows, pad_token_id), "labels": torch.tensor([row["label"] for row in rows])}
        if "token_type_ids" in rows[0]:
            batch["token_type_ids"] = pad([row["token_type_ids"] for row in rows], 0)
        return batch

    def distilled_logits(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the logits [B, C] of all rows, since every row is labelled."""
        return [outputs.logits]

    def predict(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[int]:
        """Return for each row the index of its most probable label."""
        numbers: list[int] = outputs.logits.argmax(-1).tolist()
        return numbers

    def decide(
        self, example: SentencePair, rows: Sequence[Row], predictions: Sequence[int], labels: Sequence[str]
    ) -> str:
        return labels[predictions[0]]

    def counts(self, example: SentencePair, answer: str, language: str | None) -> np.ndarray:
        """Return float64 [2]: pairs labelled right, and pairs."""
        return np.array([answer == example.label, 1], dtype=np.float64)

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        right, pairs = totals.tolist()
        return {"accuracy": right / pairs if pairs else 0.0}

    def text_key(self, example: SentencePair) -> str:
        """Return the keys of premise and hypothesis, joined by a tab."""
        return f"{text_key(example.premise)}\t{text_key(example.hypothesis)}"
