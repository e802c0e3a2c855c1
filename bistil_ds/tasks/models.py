"""Load a model for a task: a base model with sparse fine-tunings (SFTs), or a finished task model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.errors import InputError, Notice, blaming
from bistil_ds.models.hub_folder import local_folder
from bistil_ds.models.inputs import cannot_load, load_config, load_tokenizer
from bistil_ds.models.loading import is_masked_lm
from bistil_ds.models.sentence_folder import transformer_folder
from bistil_ds.models.weight_files import WEIGHT_FILES, hash_weights
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sft.metadata import LANGUAGE_TASK, check_task
from bistil_ds.tasks import Task, find_task


@dataclass(frozen=True)
class LoadedTaskModel:
    """An fp32 model in evaluation mode and its tokenizer; `labels` are its classes in the order of its outputs.

    `task` is the task as this model does it (see `Task.for_model`).
    """

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

    Args:
        folder: a model folder or hub id, with a base model or a model of the task.
        sfts: folders or hub ids of sparse fine-tunings made for that model.
        task: the task that the model is needed for; None: the task of the first SFT that was made for one.
        labels: the classes of a head that is yet to be trained. None: the labels that the last SFT for the task
            records, or else those in the folder's config.
        flag: the flag that named `folder`, for messages.

    Raises:
        InputError: the model or an SFT is missing or cannot be loaded; an SFT is given twice, or was made for another
            model or task; neither `task` nor an SFT names the task; or neither the folder nor an SFT has a head for it.
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
    task = task.for_model(folder, [sft.metadata for sft in fine_tunings], flag)
    if task.needs_teacher:  # teachers of vectors are often folders of sentence-transformers
        folder = transformer_folder(folder, flag)
    config = load_config(flag, folder)
    with blaming(f"{flag} {folder}"):
        task.check_model(config)
    try:
        if labels is None:
            labels = _labels(fine_tunings, folder, task, flag)
        tokenizer = load_tokenizer(flag, folder)
        model = _load_model(task, folder, labels, flag)
    except InputError:
        raise
    except Exception as error:  # transformers, safetensors, pickle and the hub have no common error type
        raise cannot_load(flag, folder, error) from None
    warn_of_overwritten(fine_tunings)
    for sft in fine_tunings:
        sft.apply(model, check_base=local_folder(folder, "model", WEIGHT_FILES))
    return LoadedTaskModel(model.eval(), tokenizer, task, tuple(labels))


def _load_model(task: Task, folder: str, labels: Sequence[str], flag: str) -> PreTrainedModel:
    try:
        return task.load_model(folder, labels)
    except InputError as error:  # most of these messages begin with the folder
        raise InputError(f"{flag} {error}") from None


def warn_of_overwritten(fine_tunings: Sequence[SparseFineTuning]) -> None:
    """Warn of each fine-tuning that replaces whole tensors in which an earlier one changes entries.

    Applying the later fine-tuning discards those changes. That is right only if it was trained on top of the earlier
    one.
    """
    for place, later in enumerate(fine_tunings):
        for before in fine_tunings[:place]:
            if lost := later.dense.keys() & before.sparse.keys():
                warnings.warn(
                    f"SFT {later.name} replaces {len(lost)} tensors that SFT {before.name} changes",
                    Notice,
                    stacklevel=3,
                )


def recorded_labels(sfts: Sequence[str], folder: str, task: Task, flag: str) -> tuple[str, ...]:
    """Return the labels that `load_task_model` uses if its `labels` is None, without loading the model."""
    return _labels([SparseFineTuning.load(name) for name in sfts], folder, task, flag)


def _labels(fine_tunings: Sequence[SparseFineTuning], folder: str, task: Task, flag: str) -> tuple[str, ...]:
    if task.needs_teacher:  # its data have no labels
        return ()
    for sft in reversed(fine_tunings):
        labels, made_for = sft.metadata.get("labels"), sft.metadata.get("task")
        if labels is None:
            continue
        check_task(sft.name, sft.metadata, task.name)
        if made_for == task.name or (made_for is None and labels):  # a language SFT has no labels of other tasks
            return tuple(labels)
    config = load_config(flag, folder)
    kind = (config.architectures or ["ForMaskedLM"])[0]
    if is_masked_lm(config) or "For" not in kind:  # without `For`, the folder holds an encoder alone
        if not task.trains_head:
            return ()  # outputs are tokens; the config's LABEL_0 and LABEL_1 are meaningless defaults
        missing = "its fine-tunings name no labels; give" if fine_tunings else "add"
        raise InputError(
            f"{flag} {folder}: is a {kind}, which has no head for {task.name}; {missing} one that teacher.py or "
            "task.py made for the task"
        )
    found = [config.id2label.get(i) for i in range(len(config.id2label))]
    if not all(isinstance(label, str) for label in found):
        raise InputError(f"{flag} {folder}: id2label in its config.json does not name the labels 0, 1, 2 …; correct it")
    return tuple(found)


def base_metadata(folder: str) -> dict[str, str]:
    """Return `base_model` and `base_hash`, by which an SFT's metadata name the model that the SFT is made for."""
    here = local_folder(folder, "model", WEIGHT_FILES)
    return {
        "base_model": str(Path(folder).resolve()) if here == Path(folder) else folder,
        "base_hash": hash_weights(here),
    }
