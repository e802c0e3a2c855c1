"""A model ready for a task: a base model and its sparse fine-tunings, or a folder that is finished already."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.errors import InputError
from bistil_ds.models.hub_folder import local_folder
from bistil_ds.models.inputs import cannot_load, load_config
from bistil_ds.models.weight_files import WEIGHT_FILES, hash_weights
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sft.metadata import LANGUAGE_TASK, check_task
from bistil_ds.tasks import Task, find_task


@dataclass(frozen=True)
class LoadedTaskModel:
    """An fp32 model in evaluation mode with its tokenizer; `labels` are its classes in the order of its outputs."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    task: Task
    labels: tuple[str, ...]


def load_task_model(
    folder: str,
    sfts: Sequence[str] = (),
    task: Task | None = None,
    labels: Sequence[str] | None = None,
    flag: str = "--model",
) -> LoadedTaskModel:
    """Load `folder` with the head of its task, and apply the fine-tunings in order.

    Task and labels are those of the last SFT that names them; without one, those of a finished task model's config.

    Args:
        folder: model folder or hub id: a base model, or a model of the task.
        sfts: folders or hub ids of sparse fine-tunings made for that base.
        task: what the model is wanted for; an SFT for another task is refused.
        labels: the classes of a head that is yet to be trained, instead of recorded ones.

    Raises:
        InputError: nothing there, an SFT given twice or made for another model or task, or nowhere a head for the task.
    """
    if twice := next((name for place, name in enumerate(sfts) if name in sfts[:place]), None):
        raise InputError(f"SFT {twice}: is given twice for {folder}; give it once")
    fine_tunings = [SparseFineTuning.load(name) for name in sfts]
    for sft in fine_tunings:
        made_for = sft.metadata.get("task")
        task = task or (find_task(made_for) if made_for not in (None, LANGUAGE_TASK) else None)
        if task is not None and task.name != LANGUAGE_TASK:
            check_task(sft.name, sft.metadata, task.name)
    if task is None:
        raise InputError(f"{flag} {folder}: say which task it is for with --task")
    try:
        if labels is None:
            labels = _labels(fine_tunings, folder, task, flag)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = task.load_model(folder, labels, trust_remote_code=False)
    except InputError:
        raise
    except Exception as error:  # transformers, safetensors, pickle and the hub have no common kind
        raise cannot_load(flag, folder, error) from None
    warn_of_overwritten(fine_tunings)
    for sft in fine_tunings:
        sft.apply(model, check_base=local_folder(folder, "model", WEIGHT_FILES))
    return LoadedTaskModel(model.eval(), tokenizer, task, tuple(labels))


def warn_of_overwritten(fine_tunings: Sequence[SparseFineTuning]) -> None:
    """A dense fine-tuning sets whole tensors: what one before it changed in them is gone, as is well where it was
    trained on top of that one only."""
    for place, later in enumerate(fine_tunings):
        for before in fine_tunings[:place]:
            if lost := later.dense.keys() & before.sparse.keys():
                warnings.warn(
                    f"SFT {later.name} replaces {len(lost)} tensors that SFT {before.name} changes", stacklevel=3
                )


def recorded_labels(sfts: Sequence[str], folder: str, task: Task, flag: str) -> tuple[str, ...]:
    """The classes that the last SFT with a head names, or a finished task model's config; as `load_task_model`."""
    return _labels([SparseFineTuning.load(name) for name in sfts], folder, task, flag)


def _labels(fine_tunings: Sequence[SparseFineTuning], folder: str, task: Task, flag: str) -> tuple[str, ...]:
    for sft in reversed(fine_tunings):
        labels, made_for = sft.metadata.get("labels"), sft.metadata.get("task")
        if labels is None:
            continue
        check_task(sft.name, sft.metadata, task.name)
        if made_for == task.name or (made_for is None and labels):  # a language SFT has the labels of no other task
            return tuple(labels)
    config = load_config(flag, folder)
    kind = (config.architectures or ["ForMaskedLM"])[0]
    if task.trains_head and ("ForMaskedLM" in kind or "ForPreTraining" in kind):
        missing = "its fine-tunings name no labels; give" if fine_tunings else "add"
        raise InputError(
            f"{flag} {folder}: is a {kind}, which has no head for {task.name}; {missing} one that teacher.py or "
            "task.py made for the task"
        )
    return tuple(config.id2label[i] for i in range(len(config.id2label)))


def base_metadata(folder: str) -> dict[str, str]:
    """What an SFT records of the model it is for: `base_model` and `base_hash`."""
    here = local_folder(folder, "model", WEIGHT_FILES)
    return {
        "base_model": str(Path(folder).resolve()) if here == Path(folder) else folder,
        "base_hash": hash_weights(here),
    }
