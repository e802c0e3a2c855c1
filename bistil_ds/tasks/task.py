"""What a task is: how its data is read, turned into model inputs, learned, decoded and scored.

A task is stateless and knows nothing of training loops or devices. Plug-ins register one under the entry-point group
`bistil_ds.tasks`. B rows of a batch, T tokens, N labelled positions, C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

Row = dict[str, Any]


@dataclass(frozen=True)
class ReadOptions:
    """How a data file or hub data set is to be read.

    Attributes:
        flag: the command-line flag the source came from, for messages.
        columns: our name of a column → its name in a hub data set or headed file, where they differ.
        label_map: tag or label → the one to read it as (`{"DATE": "O"}`); for IOB2 entity types or whole tags.
    """

    flag: str = "--train_file"
    columns: Mapping[str, str] = field(default_factory=dict)
    label_map: Mapping[str, str] = field(default_factory=dict)


class Task(ABC):
    """One task. `name` is what `--task` takes, `metric` the key of `metrics` that picks the best checkpoint."""

    name: ClassVar[str]
    metric: ClassVar[str]
    full_epochs: ClassVar[int]  # the published settings (BiStil, appendix)
    sparse_epochs: ClassVar[int]
    max_steps: ClassVar[int | None] = None  # of a stage, where its epochs are more
    learning_rate: ClassVar[float]
    max_length: ClassVar[int] = 256
    trains_head: ClassVar[bool] = True  # False: what is not in the base model stays as it is (language SFTs)

    @abstractmethod
    def read(self, source: str, options: ReadOptions) -> Iterator[Any]:
        """Stream the examples of a file or hub data set.

        Raises:
            InputError: anything that is not as the format says, naming file and line.
        """

    @abstractmethod
    def labels(self, examples: Sequence[Any]) -> tuple[str, ...]:
        """The classes found in training examples, in the order of the model's outputs; () for a task without."""

    @abstractmethod
    def check_labels(self, examples: Sequence[Any], labels: Sequence[str], flag: str) -> None:
        """InputError naming file and line of the first example with a label that is not among `labels`."""

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
        """Model inputs: rows of plain lists and numbers, each with `input_ids` and `example`, its example's index.

        Several rows may stand for one example (windows). In `training` a row that would teach nothing may be left out.
        """

    @abstractmethod
    def load_model(self, folder: str | Path, labels: Sequence[str], **kwargs: Any) -> PreTrainedModel:
        """The model in fp32 with this task's head, new where `folder` has none for these labels; dropout 0.

        kwargs go to `from_pretrained`. The labels stand in its config (`id2label`).
        """

    @abstractmethod
    def collate(self, rows: Sequence[Row], pad_token_id: int) -> dict[str, Tensor]:
        """A padded batch, every key an argument of the model's forward (labels too, so that it returns `loss`)."""

    @abstractmethod
    def distilled_logits(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[Tensor]:
        """The logits a teacher is imitated in, each [N, C] at labelled positions only; entries that are no choice
        (padding of a sequence of positions) hold -1e4."""

    @abstractmethod
    def predict(self, outputs: Any, batch: Mapping[str, Tensor]) -> list[Any]:
        """One prediction for each row of the batch: plain lists, numbers and strings of the CPU."""

    @abstractmethod
    def decide(self, example: Any, rows: Sequence[Row], predictions: Sequence[Any], labels: Sequence[str]) -> Any:
        """The answer for one example from the predictions for its rows: tags, (heads, relations), a label, a text."""

    @abstractmethod
    def counts(self, example: Any, answer: Any, language: str | None) -> np.ndarray:
        """float64 [c]: what one example adds to the totals the metrics are computed from."""

    @abstractmethod
    def metrics(self, totals: np.ndarray) -> dict[str, float]:
        """Metrics, shares between 0 and 1, of summed `counts`; 0 where nothing was to be found."""

    @abstractmethod
    def text_key(self, example: Any) -> str:
        """The example's text, spaces and case normalised: equal keys mean the same test and training sentence."""
