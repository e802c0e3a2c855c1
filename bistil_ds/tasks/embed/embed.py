"""Sentence vectors, which a student learns from its teacher's on plain and parallel text; no labels.

Shapes: B texts of a batch, E values of a vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.embedding.encoder import DENSE, SentenceEncoder
from bistil_ds.embedding.sentence_files import dense_weights, settings_of_folder
from bistil_ds.embedding.settings import KEY, DenseLayer, SentenceSettings
from bistil_ds.errors import InputError
from bistil_ds.models.inputs import load_config, without_dropout
from bistil_ds.models.loading import load_pretrained
from bistil_ds.tasks.embed.pairs import ParallelTexts
from bistil_ds.tasks.embed.prompts import parse_prompts
from bistil_ds.tasks.embed.scores import compare
from bistil_ds.tasks.examples import Place, Text
from bistil_ds.tasks.labels import refuse_label_map
from bistil_ds.tasks.padding import pad_inputs
from bistil_ds.tasks.readers import read_texts
from bistil_ds.tasks.task import ReadOptions, Row, Task
from bistil_ds.tasks.text_key import text_key

TEXTS_AT_ONCE = 1000
DIMENSIONS = ("teacher", "student")


@dataclass(frozen=True, slots=True)
class Scored:
    """A validation text and its teacher's vector, fp32 [E]."""

    text: str
    place: Place
    vector: np.ndarray


class SentenceEmbedding(Task):
    """Sentence vectors that are to be like a teacher's.

    Args:
        settings: how the model makes vectors; None: `for_model` is still to find out.
        source: the model's folder or hub id, where its sentence-transformers files may have weights.
        pooling, prompts, normalise: what the user chose in place of what the model's folder says, or where it says
            nothing; None: nothing.
        dimension: whether a narrower student's vectors get the teacher's dimension, by a dense layer, or keep its own.
    """

    name = "embed"
    metric = "cosine"
    full_epochs = 1
    sparse_epochs = 3
    max_steps = 20_000
    learning_rate = 1e-4
    needs_teacher = True
    losses: tuple[str, ...] = ("vector_cosine", "vector_mse", "similarity")

    def __init__(
        self,
        settings: SentenceSettings | None = None,
        source: str | Path = "",
        *,
        pooling: Sequence[str] | None = None,
        prompts: Mapping[str, str] | None = None,
        normalise: bool | None = None,
        dimension: str = "teacher",
    ) -> None:
        self._settings, self.source = settings, source
        self.pooling, self.prompts, self.normalise, self.dimension = pooling, prompts, normalise, dimension
        if dimension == "student":  # then a text's two vectors cannot be compared
            self.metric, self.losses = "similarity", ("similarity",)

    @property
    def settings(self) -> SentenceSettings:
        """Return how the model makes vectors."""
        assert self._settings is not None, "the task is not of a model yet: call for_model"
        return self._settings

    def configured(self, **choices: Any) -> Self:
        """Return the task with `pooling` (list), `prompt` (list of [NAME=]TEXT), `normalise` and `dimension`."""
        pooling, prompt = choices.pop("pooling", None), choices.pop("prompt", None)
        normalise, dimension = choices.pop("normalise", None), choices.pop("dimension", "teacher")
        super().configured(**choices)
        if dimension not in DIMENSIONS:
            raise InputError(f"--dimension {dimension}: expected one of {', '.join(DIMENSIONS)}")
        if normalise is False and not pooling:
            raise InputError("--normalise false: goes with --pooling, which says how vectors are made; give both")
        if pooling:
            SentenceSettings(tuple(pooling))  # raises InputError for an unknown mode
        return type(self)(pooling=pooling, prompts=parse_prompts(prompt), normalise=normalise, dimension=dimension)

    def for_model(self, folder: str | Path, metadata: Sequence[Mapping[str, Any]] = (), flag: str = "") -> Self:
        """Return the task with the settings of a fine-tuning, or else of the folder, changed by the user's choices.

        A folder says how it makes vectors by its sentence-transformers files, or by `sentence` in its config.json.
        """
        if self._settings is not None:
            return self
        place = f"{flag} {folder}".strip()
        told = [one[KEY] for one in metadata if KEY in one]
        if told:
            found: SentenceSettings | None = SentenceSettings.from_dict(told[-1], f"a fine-tuning of {folder}")
        else:
            found = settings_of_folder(folder, flag) or SentenceSettings.of_config(load_config(flag, folder), place)
        if found is None and not self.pooling:
            raise InputError(f"{place}: does not say how it pools its states; give it with --pooling, such as mean")
        changes: dict[str, Any] = {}
        if self.pooling:
            changes = {"pooling": tuple(self.pooling), "normalise": self.normalise is not False}
        if self.prompts is not None:
            changes |= {"prompts": self.prompts, "default_prompt": next(iter(self.prompts))}
        return self._with(replace(found or SentenceSettings(), **changes), folder)

    def for_student(self, student: PretrainedConfig, teacher: PretrainedConfig) -> Self:
        """Return the task with the teacher's settings, and dense layers that fit the student.

        A student of the teacher's width has the teacher's dense layers. The first one of a narrower student's takes the
        student's states; where the teacher has none, a layer without activation gives the teacher's dimension.
        """
        settings, width = self.settings, student.hidden_size * len(self.settings.pooling)
        if self.dimension == "student":
            return self._with(replace(settings, dense=()), "")
        if student.hidden_size == teacher.hidden_size:
            return self
        first = settings.dense[0] if settings.dense else DenseLayer(width, settings.dimension(teacher.hidden_size))
        return self._with(replace(settings, dense=(replace(first, in_features=width), *settings.dense[1:])), "")

    def _with(self, settings: SentenceSettings, source: str | Path) -> Self:
        chosen: dict[str, Any] = {"pooling": self.pooling, "prompts": self.prompts, "normalise": self.normalise}
        return type(self)(settings, source, **chosen, dimension=self.dimension)

    def describe(self, max_length: int) -> str:
        return self.settings.describe(self.settings.prompts, self.settings.longest(max_length))

    def metadata(self) -> dict[str, Any]:
        return {KEY: self.settings.as_dict()}

    # Data

    def read(self, source: str, options: ReadOptions) -> Iterator[Text]:
        refuse_label_map(options, self.name)
        return read_texts(source, options)

    def labels(self, examples: Sequence[Any]) -> tuple[str, ...]:
        return ()

    def check_labels(self, examples: Sequence[Any], labels: Sequence[str], flag: str) -> None:
        pass

    def features(
        self,
        examples: Sequence[Text | ParallelTexts],
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        max_length: int,
        *,
        training: bool,
    ) -> list[Row]:
        """Return a row for each text or pair of texts, cut to `max_length` tokens, with the prompts in turn.

        The row of a pair also has `source_ids`, the text whose vector both sides are to have.

        Raises:
            InputError: no token of a text fits beside its prompt.
        """
        prompts, max_length = self.settings.training_prompts, self.settings.longest(max_length)
        if any(len(tokenizer(prompt, verbose=False)["input_ids"]) >= max_length for prompt in prompts):
            raise InputError(f"--max_length {max_length}: leaves no room for a text; give a larger one")
        rows: list[Row] = []
        for start in range(0, len(examples), TEXTS_AT_ONCE):
            part = examples[start : start + TEXTS_AT_ONCE]
            before = [prompts[(start + i) % len(prompts)] for i in range(len(part))]

            def ids_of(texts: list[str], before: list[str] = before) -> list[list[int]]:
                prompted = [prompt + text for prompt, text in zip(before, texts, strict=True)]
                ids: list[list[int]] = tokenizer(prompted, truncation=True, max_length=max_length)["input_ids"]
                return ids

            for i, ids in enumerate(ids_of([example.text for example in part])):
                rows.append({"input_ids": ids, "example": start + i})
            if any(isinstance(example, ParallelTexts) for example in part):
                for i, ids in enumerate(ids_of([getattr(example, "source", example.text) for example in part])):
                    if isinstance(part[i], ParallelTexts):
                        rows[start + i]["source_ids"] = ids
        return rows

    def collate(self, rows: Sequence[Row], pad_token_id: int) -> dict[str, Tensor]:
        """Pad the rows; a pair becomes two texts.

        With pairs, `targets` int64 [B] names for each text of the batch the one whose vector it is to have.
        """
        texts: list[Row] = []
        targets: list[int] = []
        for row in rows:
            if "source_ids" in row:
                texts.append({"input_ids": row["source_ids"]})
                targets.append(len(texts) - 1)
            texts.append(row)
            targets.append(targets[-1] if "source_ids" in row else len(texts) - 1)
        batch = pad_inputs(texts, pad_token_id)
        return batch if len(texts) == len(rows) else {**batch, "targets": torch.tensor(targets)}

    # Model and outputs

    def load_model(self, folder: str | Path, labels: Sequence[str], **kwargs: Any) -> PreTrainedModel:
        """Load the encoder with its pooling and dense layers.

        The weights of dense layers come from the folder, or from its sentence-transformers files. Where neither has
        them, because a fine-tuning does, they start as the identity.

        Raises:
            InputError: the folder's config.json names dense layers to which it has no weights; or `load_pretrained`
                raises it.
        """
        task = self.for_model(folder)
        config = load_config("", folder)
        own = SentenceSettings.of_config(config, str(folder))
        setattr(config, KEY, task.settings.as_dict())
        without_dropout(config)
        model, absent = load_pretrained(SentenceEncoder, folder, config=config, dtype=torch.float32, **kwargs)
        if any(name.startswith(f"{DENSE}.") for name in absent):
            layers = dense_weights(task.source or folder)
            if not layers and own is not None and own.dense == task.settings.dense:
                raise InputError(f"{folder}: lacks the weights of its dense layers; give a whole model's folder")
            for linear, tensors in zip(model.dense, layers, strict=False):
                linear.load_state_dict(dict(tensors))
        result: PreTrainedModel = model
        return result

    def distilled_logits(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[Tensor]:
        raise NotImplementedError("sentence vectors are no logits")

    def distilled_vectors(self, outputs: Any, batch: Mapping[str, Tensor], *, of_teacher: bool) -> Tensor:
        vectors_BE: Tensor = outputs.sentence_embedding
        return vectors_BE[batch["targets"]] if of_teacher and "targets" in batch else vectors_BE

    def predict(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[np.ndarray]:
        """Return the vector of each text, fp32 [E]."""
        return list(outputs.sentence_embedding.float().cpu().numpy())

    def decide(
        self, example: Any, rows: Sequence[Row], predictions: Sequence[np.ndarray], labels: Sequence[str]
    ) -> np.ndarray:
        return predictions[0]

    def counts(self, example: Scored, answer: np.ndarray, language: str | None) -> np.ndarray:
        """Return float64 [2]: the cosine of the two vectors, and 1."""
        return np.array([compare(answer[None], example.vector[None]).get("cosine", 0.0), 1.0])

    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        cosine, texts = totals.tolist()
        return {"cosine": cosine / texts if texts else 0.0}

    def scores(
        self, examples: Sequence[Scored], answers: Sequence[np.ndarray], language: str | None
    ) -> dict[str, float]:
        """Return what `compare` finds between the answers and the teacher's vectors."""
        return compare(np.stack(answers), np.stack([example.vector for example in examples]))

    def with_teacher(self, example: Text, answer: np.ndarray) -> Scored:
        return Scored(example.text, example.place, answer)

    def text_key(self, example: Text | ParallelTexts | Scored) -> str:
        return text_key(example.text)

    def text_keys(self, example: Text | ParallelTexts | Scored) -> set[str]:
        return {text_key(example.text), text_key(getattr(example, "source", example.text))}

    def start_head(
        self, student: PreTrainedModel, teacher: PreTrainedModel, projections: Sequence[Tensor] | None
    ) -> None:
        """Start a narrower student's first dense layer such that its vectors are like its teacher's.

        The student's last state is about the teacher's, times the last projection P, whose columns are orthonormal. So
        the teacher's first layer W (the identity if it has none) becomes W P.
        """
        if projections is None or not len(student.dense):
            return
        modes = len(self.settings.pooling)
        weight = torch.block_diag(*[projections[-1].float()] * modes)
        if len(teacher.dense):
            weight = teacher.dense[0].weight.data @ weight
        if student.dense[0].weight.shape != weight.shape:
            return
        student.dense[0].weight.data.copy_(weight)
        for ours, theirs in zip(student.dense, teacher.dense, strict=False):
            if theirs.bias is not None:
                ours.bias.data.copy_(theirs.bias.data)
        for ours, theirs in zip(list(student.dense)[1:], list(teacher.dense)[1:], strict=True):
            ours.weight.data.copy_(theirs.weight.data)
