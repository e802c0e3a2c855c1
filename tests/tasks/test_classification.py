"""Test that a task with one label for each text needs no more than to read, tokenise and compare its texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from student_models import tiny_teacher

from bistil_ds.errors import InputError
from bistil_ds.tasks import ReadOptions
from bistil_ds.tasks.classification import Classification
from bistil_ds.tasks.examples import Place, SentencePair
from bistil_ds.tasks.task import Row


class Length(Classification):
    """Classification of premises: is one long or short?"""

    name = "length"
    full_epochs = sparse_epochs = 1
    learning_rate = 1e-3

    def read(self, source: str, options: ReadOptions) -> Iterator[SentencePair]:
        for number, word in enumerate(source.split(), 1):
            yield SentencePair(word, "", "long" if len(word) > 3 else "short", Place("f", number))

    def features(
        self, examples: Sequence[Any], tokenizer: Any, labels: Sequence[str], max_length: int, *, training: bool
    ) -> list[Row]:
        return [
            {"input_ids": [5 + ord(c) % 40 for c in each.premise], "label": labels.index(each.label), "example": i}
            for i, each in enumerate(examples)
        ]

    def text_key(self, example: SentencePair) -> str:
        return example.premise


def test_labels_logits_answers_and_scores_come_from_the_base_class(tmp_path: Path) -> None:
    task = Length()
    examples = list(task.read("bake lo tilma na", ReadOptions()))
    labels = task.labels(examples)
    assert labels == ("long", "short")
    tiny_teacher("bert", layers=1).save_pretrained(tmp_path)
    model = task.load_model(tmp_path, labels)
    assert model.config.id2label == {0: "long", 1: "short"}
    rows = task.features(examples, None, labels, 16, training=True)
    batch = task.collate(rows, 0)
    assert batch["labels"].tolist() == [0, 1, 0, 1]
    assert batch["input_ids"].shape == (4, 5)
    assert batch["attention_mask"].sum(1).tolist() == [4, 2, 5, 2]
    outputs = model(**batch)
    outputs.logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    assert task.distilled_logits(outputs, batch)[0] is outputs.logits
    predictions = task.predict(outputs, batch)
    answers = [task.decide(each, [row], [one], labels) for each, row, one in zip(examples, rows, predictions)]
    assert answers == ["long", "short", "short", "short"]
    totals = np.sum([task.counts(each, answer, None) for each, answer in zip(examples, answers)], axis=0)
    assert task.metrics(totals) == {"accuracy": 0.75}
    assert task.metrics(np.zeros(2)) == {"accuracy": 0.0}


def test_one_label_is_nothing_to_learn() -> None:
    task = Length()
    with pytest.raises(InputError, match=r"^--train_file f: all examples have the label 'long'; expected two or more$"):
        task.labels(list(task.read("bake tilma", ReadOptions())))


def test_the_loss_is_that_of_labels_whatever_the_folders_head_was_for(tmp_path: Path) -> None:
    task = Length()
    examples = list(task.read("bake lo", ReadOptions()))
    tiny_teacher("bert", layers=1, problem_type="multi_label_classification").save_pretrained(tmp_path)
    model = task.load_model(tmp_path, ("long", "short"))
    batch = task.collate(task.features(examples, None, ("long", "short"), 16, training=True), 0)
    outputs = model(**batch)
    assert torch.allclose(outputs.loss, torch.nn.functional.cross_entropy(outputs.logits, batch["labels"]))


def test_a_label_that_training_never_saw_is_refused() -> None:
    task = Length()
    with pytest.raises(InputError, match=r"^--test_file: f, line 2: label 'short' .*--label_map short=long"):
        task.check_labels(list(task.read("bake lo", ReadOptions())), ("long",), "--test_file")
