"""Extractive question answering on SQuAD's format, scored by F1 and exact match.

Shapes: B windows, T tokens.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForQuestionAnswering, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.errors import Notice
from bistil_ds.models.families import CLASSIFIER
from bistil_ds.tasks.examples import Question
from bistil_ds.tasks.heads import check_class, load_classifier
from bistil_ds.tasks.labels import refuse_label_map
from bistil_ds.tasks.padding import pad, pad_inputs
from bistil_ds.tasks.qa.metrics import scores
from bistil_ds.tasks.qa.rules import code_of
from bistil_ds.tasks.qa.windows import as_numbers, best_answer, windows
from bistil_ds.tasks.readers import read_questions
from bistil_ds.tasks.task import ReadOptions, Row, Task
from bistil_ds.tasks.text_key import text_key

ANSWERED = ("start", "end")  # labels of a model that always gives an answer
MAYBE_NONE = ("start or none", "end or none")  # labels of a model that may give none
NO_CHOICE = -1e4
HEADS = ("qa_outputs", CLASSIFIER)  # names of the head: of most families, and of ModernBERT


class QuestionAnswering(Task):
    """Extractive question answering; a question has one row for each window of its context.

    Whether a model may give no answer depends on its labels. A model that was trained here may if its training data had
    unanswerable questions (SQuAD 2.0). Otherwise it always gives an answer, which is wrong for such questions. A model
    whose labels are not ours may give none if the examples that it answers have unanswerable questions.
    """

    name = "qa"
    metric = "f1"
    full_epochs = 2
    sparse_epochs = 2
    learning_rate = 3e-5
    max_length = 384

    def read(self, source: str, options: ReadOptions) -> Iterator[Question]:
        refuse_label_map(options, self.name)
        return read_questions(source, options)

    def labels(self, examples: Sequence[Question]) -> tuple[str, ...]:
        return ANSWERED if all(question.answers for question in examples) else MAYBE_NONE

    def check_labels(self, examples: Sequence[Question], labels: Sequence[str], flag: str) -> None:
        """Accept all examples, and count in a Notice those without an answer if the model always gives one."""
        unanswerable = sum(not question.answers for question in examples)
        if tuple(labels) == ANSWERED and unanswerable:
            said = f"{flag}: {unanswerable} of {len(examples)} questions have no answer, and the model always gives one"
            warnings.warn(f"{said}, because its training data had none like these; it is wrong there", Notice, 2)

    def check_language(self, language: str | None, flag: str) -> None:
        if language and code_of(language) is None:
            said = f"{flag}: {language} names no language, so its answers are scored by the rules of English, without"
            warnings.warn(f"{said} a, an and the; name it, as in de=FILE or quc-Latn=FILE", Notice, stacklevel=2)

    def features(
        self,
        examples: Sequence[Question],
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        max_length: int,
        *,
        training: bool,
    ) -> list[Row]:
        length = min(max_length, tokenizer.model_max_length)  # small models take fewer tokens than the default, 384
        rows = windows(examples, tokenizer, length, training=training)
        if training:
            return list(rows)
        known = tuple(labels) in (ANSWERED, MAYBE_NONE)
        none = tuple(labels) == MAYBE_NONE if known else not all(question.answers for question in examples)
        return [{**row, "may_be_none": none} for row in rows]

    def unused(self, examples: Sequence[Question], rows: Sequence[Row]) -> str:
        """Return how many questions have no row; that happens in training only."""
        unused = len(examples) - len({row["example"] for row in rows})
        said = f"left out {unused} of {len(examples)} questions, whose answers have no place or no token in the context"
        return said if unused else ""

    def check_model(self, config: PretrainedConfig) -> None:
        check_class(AutoModelForQuestionAnswering, config)

    def load_model(self, folder: str | Path, labels: Sequence[str], **kwargs: Any) -> PreTrainedModel:
        return load_classifier(AutoModelForQuestionAnswering, folder, labels, heads=HEADS, **kwargs)

    def collate(self, rows: Sequence[Row], pad_token_id: int) -> dict[str, Tensor]:
        batch = pad_inputs(rows, pad_token_id)
        if "token_type_ids" in rows[0]:
            batch["token_type_ids"] = pad([row["token_type_ids"] for row in rows], 0)
        for name in ("start_positions", "end_positions"):
            batch[name] = torch.tensor([row[name] for row in rows])
        return batch

    def distilled_logits(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the start and end logits, each [B, T], with -1e4 on padding."""
        padding_BT = batch["attention_mask"] == 0
        return [
            logits_BT.masked_fill(padding_BT, NO_CHOICE) for logits_BT in (outputs.start_logits, outputs.end_logits)
        ]

    def predict(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[tuple[Sequence[float], Sequence[float]]]:
        """Return for each window the start and the end logits of its real tokens."""
        lengths = batch["attention_mask"].sum(dim=1).tolist()
        start_BT, end_BT = (
            logits.detach().float().cpu().numpy() for logits in (outputs.start_logits, outputs.end_logits)
        )
        return [
            (as_numbers(start_T[:length]), as_numbers(end_T[:length]))
            for start_T, end_T, length in zip(start_BT, end_BT, lengths)
        ]

    def decide(
        self,
        example: Question,
        rows: Sequence[Row],
        predictions: Sequence[tuple[Sequence[float], Sequence[float]]],
        labels: Sequence[str],
    ) -> str:
        return best_answer(example.context, rows, predictions, may_be_none=rows[0]["may_be_none"])

    def counts(self, example: Question, answer: str, language: str | None) -> np.ndarray:
        """Return float64 [3]: 1 for the question itself, and the F1 and exact match of its answer."""
        return np.array([1.0, *scores(answer, [text for text, _ in example.answers], language)])

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        questions, f1, exact = (float(total) for total in totals)
        return {"f1": f1 / max(questions, 1.0), "exact_match": exact / max(questions, 1.0)}

    def text_key(self, example: Question) -> str:
        return text_key(f"{example.question} {example.context}")
