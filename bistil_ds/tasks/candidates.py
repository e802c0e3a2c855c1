"""The models of an evaluation: loaded one at a time, and what is to be known of each."""

from __future__ import annotations

from dataclasses import dataclass

from bistil_ds.errors import InputError
from bistil_ds.models.inputs import longest_input
from bistil_ds.models.weight_files import hash_weights
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.tasks.models import LoadedTaskModel, load_task_model
from bistil_ds.tasks.task import Task

TRAINED_LENGTH = "trained_max_length"  # in the config of an exported model: the longest input its task was trained on


@dataclass(frozen=True)
class ModelChoice:
    """A model by what it is called in the tables: a folder or hub id, and the fine-tunings to apply in order."""

    name: str
    folder: str
    sfts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A model that was found fit for the task.

    Attributes:
        labels: its classes, in the order of its outputs.
        max_length: the longest input it is given, in tokens.
        parameters, bytes: of the weights as they run (fp32, fine-tunings merged), tied ones once.
        weights_sha256: `hash_weights` of the same.
    """

    choice: ModelChoice
    labels: tuple[str, ...]
    max_length: int
    parameters: int
    bytes: int
    weights_sha256: str


class Shelf:
    """Loads models for one task and holds the last one only: several may not fit into memory."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._name: str | None = None
        self._loaded: LoadedTaskModel | None = None

    def get(self, choice: ModelChoice) -> LoadedTaskModel:
        """The model, its fine-tunings applied."""
        if self._loaded is None or self._name != choice.name:
            self._loaded = None  # gone before the next one comes
            self._loaded, self._name = load_task_model(choice.folder, choice.sfts, self.task), choice.name
        return self._loaded


def examine(choice: ModelChoice, shelf: Shelf, max_length: int | None) -> Candidate:
    """Load the model and see that it was taught the task; `max_length` None: as it was trained, or the task's.

    Raises:
        InputError: as `load_task_model`; a head that would be random; a `max_length` above the model's positions.
    """
    loaded = shelf.get(choice)
    sfts = [SparseFineTuning.load(name) for name in choice.sfts]
    kind, saved_as = type(loaded.model).__name__, loaded.model.config.architectures or []
    if shelf.task.trains_head and kind not in saved_as and not any(sft.dense for sft in sfts):
        raise InputError(
            f"--model {choice.folder}: has no trained head for {shelf.task.name} (it is a {', '.join(saved_as)}); "
            "give a model of that task, or add the task's sparse fine-tuning"
        )
    longest = longest_input(loaded.model.config)
    if max_length is not None and not 1 <= max_length <= longest:
        raise InputError(f"--max_length {max_length}: {choice.folder} takes 1 to {longest} tokens")
    trained_at = [sft.metadata.get("max_length") for sft in sfts if sft.metadata.get("task") == shelf.task.name]
    known = [shelf.task.max_length, getattr(loaded.model.config, TRAINED_LENGTH, None), *trained_at]
    weights = list(loaded.model.parameters())
    return Candidate(
        choice,
        loaded.labels,
        max_length or min(longest, [length for length in known if length][-1]),
        sum(weight.numel() for weight in weights),
        sum(weight.numel() * weight.element_size() for weight in weights),
        hash_weights(loaded.model),
    )
