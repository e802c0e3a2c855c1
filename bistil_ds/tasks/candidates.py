"""Load the models of an evaluation one at a time and check that each one fits the task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bistil_ds.embedding.encoder import SentenceEncoder
from bistil_ds.embedding.vectors import longest_text
from bistil_ds.errors import InputError
from bistil_ds.models.engines.files import bytes_of, is_engine_file, parts_of
from bistil_ds.models.engines.running import run_in_engine
from bistil_ds.models.inputs import longest_input
from bistil_ds.models.weight_files import hash_weights
from bistil_ds.runs.cache import file_hash
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.tasks.models import LoadedTaskModel, load_task_model
from bistil_ds.tasks.task import Task

TRAINED_LENGTH = "trained_max_length"  # key in an exported model's config: tokens of the longest training input


@dataclass(frozen=True)
class ModelChoice:
    """A model that the user chose: name in tables, folder or hub id, and ordered sparse fine-tunings (SFTs).

    In place of a folder, it may be a model's file for an engine (`.onnx` or `.xml`) in its folder; the engine runs it.
    """

    name: str
    folder: str
    sfts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A model that `examine` found fit for the task.

    Attributes:
        labels: the model's classes, in the order of its outputs.
        max_length: the longest input of the evaluation, in tokens.
        parameters, bytes: number and size of the weights as evaluated (fp32, fine-tunings applied); tied weights count
            once. An engine's file has its own size.
        weights_sha256: `hash_weights` of these weights; of an engine's file, the hash of its bytes.
    """

    choice: ModelChoice
    labels: tuple[str, ...]
    max_length: int
    parameters: int
    bytes: int
    weights_sha256: str


class ModelCache:
    """A cache of the task model that was used last. It holds no second one, which might not fit into memory."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._name: str | None = None
        self._loaded: LoadedTaskModel | None = None

    def get(self, choice: ModelChoice) -> LoadedTaskModel:
        """Return the model with its fine-tunings applied; load it unless it is the model that was returned last."""
        if self._loaded is None or self._name != choice.name:
            self._loaded = None  # frees the memory before the next model is loaded
            self._loaded, self._name = load_choice(choice, self.task), choice.name
        return self._loaded


def load_choice(choice: ModelChoice, task: Task) -> LoadedTaskModel:
    """Load a model with its fine-tunings applied; if it is an engine's file, the engine computes its forward pass.

    Raises:
        InputError: from `load_task_model` and `run_in_engine`; or an engine's file is missing, or has fine-tunings.
    """
    if not is_engine_file(choice.folder):
        return load_task_model(choice.folder, choice.sfts, task)
    file = Path(choice.folder)
    if not file.is_file():
        raise InputError(f"--model {file}: there is no such file")
    if choice.sfts:
        raise InputError(f"--model {'+'.join([str(file), *choice.sfts])}: an engine's file takes no fine-tuning")
    loaded = load_task_model(str(file.parent), (), task)
    run_in_engine(loaded.model, file)
    return loaded


def examine(choice: ModelChoice, cache: ModelCache, max_length: int | None) -> Candidate:
    """Load the model, and check that its head was trained for the task of `cache`.

    Args:
        cache: loads the model.
        max_length: the longest input in tokens. None means the length that the last fine-tuning for this task records,
            else that of the model's config, else the task's default, but at most the model's number of positions; for a
            sentence encoder, it means the model's own limit.

    Raises:
        InputError: `load_task_model` raises it; the head was never trained for the task; or `max_length` is below 1 or
            above the model's number of positions.
    """
    loaded = cache.get(choice)
    sfts = [SparseFineTuning.load(name) for name in choice.sfts]
    kind, saved_as = type(loaded.model).__name__, loaded.model.config.architectures or []
    needs_head = cache.task.trains_head and not cache.task.needs_teacher  # any encoder gives vectors, say
    if needs_head and kind not in saved_as and not any(sft.dense for sft in sfts):
        raise InputError(
            f"--model {choice.folder}: has no trained head for {cache.task.name} (it is a {', '.join(saved_as)}); "
            "give a model of that task, or add the task's sparse fine-tuning"
        )
    longest = longest_input(loaded.model.config)
    if max_length is not None and not 1 <= max_length <= longest:
        raise InputError(f"--max_length {max_length}: {choice.folder} takes 1 to {longest} tokens")
    trained_at = [sft.metadata.get("max_length") for sft in sfts if sft.metadata.get("task") == cache.task.name]
    known = [cache.task.max_length, getattr(loaded.model.config, TRAINED_LENGTH, None), *trained_at]
    usual = min(longest, [length for length in known if length][-1])
    if isinstance(loaded.model, SentenceEncoder):
        usual = longest_text(loaded.model, loaded.tokenizer)  # as its users will run it
    weights = list(loaded.model.parameters())
    found = Candidate(
        choice,
        loaded.labels,
        max_length or usual,
        sum(weight.numel() for weight in weights),
        sum(weight.numel() * weight.element_size() for weight in weights),
        hash_weights(loaded.model),
    )
    if not is_engine_file(choice.folder):
        return found
    file = Path(choice.folder)
    return replace(found, bytes=bytes_of(file), weights_sha256=file_hash(parts_of(file)[-1]))
