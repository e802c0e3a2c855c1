"""A task for tests: decide the topic of a text, from files with lines `topic<TAB>text`; scored by accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import XLMRobertaForSequenceClassification

from bistil_ds.errors import InputError
from bistil_ds.tasks import ReadOptions, Task


class Topics(Task):
    name, metric = "topics", "accuracy"
    full_epochs = sparse_epochs = 1
    learning_rate = 1e-4
    max_length = 32

    def read(self, source: str, options: ReadOptions) -> Iterator[tuple[str, str, int]]:
        if not Path(source).is_file():
            raise InputError(f"{options.flag}: there is no file {source}")
        for number, line in enumerate(Path(source).read_text(encoding="utf-8").splitlines(), 1):
            topic, tab, text = line.partition("\t")
            if not tab:
                raise InputError(f"{options.flag}: {source}, line {number}: expected topic<TAB>text")
            yield options.label_map.get(topic, topic), text, number

    def labels(self, examples: Sequence[Any]) -> tuple[str, ...]:
        return tuple(sorted({topic for topic, _, _ in examples}))

    def check_labels(self, examples: Sequence[Any], labels: Sequence[str], flag: str) -> None:
        for topic, _, number in examples:
            if topic not in labels:
                raise InputError(f"{flag}, line {number}: topic {topic} is none of {', '.join(labels)}")

    def features(self, examples: Sequence[Any], tokenizer: Any, labels: Any, max_length: int, *, training: bool) -> Any:
        ids = tokenizer([text for _, text, _ in examples], truncation=True, max_length=max_length)["input_ids"]
        return [{"input_ids": each, "example": index} for index, each in enumerate(ids)]

    def load_model(self, folder: str | Path, labels: Sequence[str], **kwargs: Any) -> Any:
        named = dict(enumerate(labels))
        return XLMRobertaForSequenceClassification.from_pretrained(folder, id2label=named, **kwargs)

    def collate(self, rows: Sequence[Any], pad_token_id: int) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        padded = [row["input_ids"] + [pad_token_id] * (longest - len(row["input_ids"])) for row in rows]
        ids_BT = torch.tensor(padded)
        return {"input_ids": ids_BT, "attention_mask": (ids_BT != pad_token_id).long()}

    def distilled_logits(self, outputs: Any, batch: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        return [outputs.logits]

    def predict(self, outputs: Any, batch: Mapping[str, torch.Tensor]) -> list[int]:
        return outputs.logits.argmax(-1).tolist()  # type: ignore[no-any-return]

    def decide(self, example: Any, rows: Any, predictions: Sequence[int], labels: Sequence[str]) -> str:
        (prediction,) = predictions
        return labels[prediction]

    def counts(self, example: Any, answer: str, language: str | None) -> np.ndarray:
        return np.array([answer == example[0], 1.0])

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        return {"error": float(1 - totals[0] / totals[1]), "accuracy": float(totals[0] / totals[1])}

    def text_key(self, example: Any) -> str:
        return " ".join(example[1].lower().split())
