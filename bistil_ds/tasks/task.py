"""The interface of a task: how its data becomes model inputs, and how the model's outputs become answers and scores.

A task does not change, and knows nothing of training loops or devices. Another package adds a task by an entry point in
the group `bistil_ds.tasks`.

Shapes: N labelled positions of a batch, C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.errors import InputError

Row = dict[str, Any]


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading a data file or hub data set.

    Attributes:
        flag: the command-line flag that named the source, for messages.
        columns: our name of a column → its name in the data, if that differs (hub data set, CSV, TSV, JSON). In files
            without a header, the column's number, counted from 1, takes the place of its name.
        label_map: label in the data → label to read it as. For IOB2 tags, the label in the data is
            an entity type (`{"DATE": "O"}`) or a whole tag (`{"B-OTH": "O"}`).
        language: the code or name of the language to read from data of several languages; None: read all.
    """

    flag: str = "--train_file"
    columns: Mapping[str, str] = field(default_factory=dict)
    label_map: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None


class Task(ABC):
    """A task; the value of `--task` is its `name`.

    `metric` is a key in the results of `metrics`; the checkpoint with its highest value is the best one. Epochs and
    learning rates are the published ones (BiStil, appendix; LT-SFT) if there are any.
    """

    name: ClassVar[str]
    metric: str
    full_epochs: ClassVar[int]  # default of the full stage
    sparse_epochs: ClassVar[int]  # default of the sparse stage
    max_steps: ClassVar[int | None] = None  # upper limit of the steps in either stage
    learning_rate: ClassVar[float]
    max_length: ClassVar[int] = 256
    trains_head: ClassVar[bool] = True  # False: the base model is trained, but not its head (mlm)
    cuts_words: ClassVar[bool] = False  # True: each word is cut into tokens by itself (see `words.py`)
    needs_teacher: ClassVar[bool] = False  # True: it is learned from a teacher's outputs, and its data have no labels
    losses: tuple[str, ...] = ("logit", "label")  # phase 2's losses of its outputs, by name

    def configured(self, **choices: Any) -> Self:
        """Return the task with what the user chose for it by flags, such as `pooling=["mean"]` for embed.

        Raises:
            InputError: the task has no such choice, or the choice is not one of those it has.
        """
        if choices:
            raise InputError(f"--{min(choices)}: has no effect with --task {self.name}; leave it out")
        return self

    def for_model(self, folder: str | Path, metadata: Sequence[Mapping[str, Any]] = (), flag: str = "") -> Self:
        """Return the task as the model in `folder` does it; most tasks are the same for every model.

        Args:
            folder: a model folder or hub id.
            metadata: headers of the sparse fine-tunings that the model carries, in their order.
            flag: the flag that named the folder, for messages.

        Raises:
            InputError: the model does not say how it does the task.
        """
        return self

    def for_student(self, student: PretrainedConfig, teacher: PretrainedConfig) -> Self:
        """Return the task as a student does it, from the task as its teacher does it."""
        return self

    def start_head(  # noqa: B027  (most heads can only be copied)
        self, student: PreTrainedModel, teacher: PreTrainedModel, projections: Sequence[Tensor] | None
    ) -> None:
        """Start a student's head from its teacher's where their shapes differ.

        `projections` are a matrix fp32 [teacher width, student width] for each of the student's states; None: the
        widths are the same.
        """

    def describe(self, max_length: int) -> str:
        """Return in one line how the model of this task does it, for the user; "" if all models do it alike.

        Args:
            max_length: longest training input in tokens.
        """
        return ""

    def metadata(self) -> dict[str, Any]:
        """Return what the header of a sparse fine-tuning needs to say about the task beside its name."""
        return {}

    def check_model(self, config: PretrainedConfig) -> None:  # noqa: B027  (most models can learn most tasks)
        """Raise InputError if no model with this configuration can be trained on the task."""

    @abstractmethod
    def read(self, source: str, options: ReadOptions) -> Iterator[Any]:
        """Stream the examples of a file or hub data set.

        Raises:
            InputError: the source does not follow its format; the message says where.
        """

    def read_unlabelled(self, source: str, options: ReadOptions) -> Iterator[Any]:
        """Stream examples without labels from plain text; a student learns its teacher's answers to them.

        Raises:
            InputError: the text cannot be read, or the task makes no examples from plain text.
        """
        raise InputError(f"{options.flag} {source}: --task {self.name} makes no examples from plain text; leave it out")

    @abstractmethod
    def labels(self, examples: Sequence[Any]) -> tuple[str, ...]:
        """Return the classes of the training examples, in the order of the model's outputs; () if the task has none."""

    @abstractmethod
    def check_labels(self, examples: Sequence[Any], labels: Sequence[str], flag: str) -> None:
        """Raise InputError, with file and line, for the first example with a label that is not among `labels`.

        Labels that have the same name in all data, such as universal relations, may be told in a Notice instead.
        """

    def check_language(self, language: str | None, flag: str) -> None:  # noqa: B027  (most scores need no language)
        """Say in a Notice how answers are scored whose language the task's scores need and do not know.

        Args:
            language: the name of the set that is scored, which may also be that of a folder.
        """

    @abstractmethod
    def features(
        self,
        examples: Sequence[Any],
        tokenizer: PreTrainedTokenizerBase,
        labels: Sequence[str],
        max_length: int,
        *,
        training: bool,
    ) -> list[Row]:
        """Return the model's inputs: rows of plain lists and numbers.

        A row has at least `input_ids`, and in `example` the index of its example. An example may have several rows
        (windows). With `training`, rows from which nothing can be learned may be left out.
        """

    def unused(self, examples: Sequence[Any], rows: Sequence[Row]) -> str:
        """Return in words how much of the examples `rows`, their model inputs, leave out; "" if they hold all."""
        return ""

    @abstractmethod
    def load_model(self, folder: str | Path, labels: Sequence[str], **kwargs: Any) -> PreTrainedModel:
        """Load the model in fp32, without dropout; the task's head is new if `folder` has none for these labels.

        The loaded model's config names the labels (`id2label`). `kwargs` go to `from_pretrained`.
        """

    @abstractmethod
    def collate(self, rows: Sequence[Row], pad_token_id: int) -> dict[str, Tensor]:
        """Pad the rows into a batch, the keyword arguments of the model's forward; the output must have a `loss`."""

    def draw(self, batch: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
        """Return a training batch with what the task draws at random each time; the seed alone decides it."""
        return batch

    @abstractmethod
    def distilled_logits(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the logits in which a student imitates its teacher, each [N, C] at labelled positions only.

        A class that cannot be chosen has the logit -1e4. If the classes are positions of a sequence, padding is such a
        class.
        """

    def distilled_vectors(self, outputs: Any, batch: Mapping[str, Tensor], *, of_teacher: bool) -> Tensor:
        """Return the vectors [B, E] in which a student imitates its teacher, for a task with losses of vectors.

        With `of_teacher`, row i is the vector that the student's vector in row i is compared with.
        """
        raise NotImplementedError(f"--task {self.name} makes no vectors")

    @abstractmethod
    def predict(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[Any]:
        """Return one prediction for each row of the batch, made of plain lists, numbers and strings on the CPU."""

    @abstractmethod
    def decide(self, example: Any, rows: Sequence[Row], predictions: Sequence[Any], labels: Sequence[str]) -> Any:
        """Combine the predictions for an example's rows into one answer, such as tags, a label or a text."""

    @abstractmethod
    def counts(self, example: Any, answer: Any, language: str | None) -> np.ndarray:
        """Return what an example adds to the `totals` of `metrics`: a float64 vector, equally long for all examples."""

    @abstractmethod
    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        """Compute the metrics (between 0 and 1) from `totals`, the sum of `counts`; 0 if there is nothing to count."""

    def scores(self, examples: Sequence[Any], answers: Sequence[Any], language: str | None) -> dict[str, float]:
        """Return the metrics of the answers to a data set; by default they are `metrics` of the sum of `counts`."""
        pairs = zip(examples, answers, strict=True)
        return self.metrics(sum(self.counts(*pair, language) for pair in pairs))  # type: ignore[arg-type]

    def with_teacher(self, example: Any, answer: Any) -> Any:
        """Return a validation example with the teacher's answer, for a task that needs a teacher."""
        raise NotImplementedError(f"--task {self.name} is scored by labels")

    @abstractmethod
    def text_key(self, example: Any) -> str:
        """Return the example's text with normalised spaces and case; examples with equal keys have the same text."""

    def text_keys(self, example: Any) -> set[str]:
        """Return the keys of all texts of an example, which may have several."""
        return {self.text_key(example)}
