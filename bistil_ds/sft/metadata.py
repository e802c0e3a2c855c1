"""The metadata in the JSON header of a sparse fine-tuning (SFT): keys, types, and how two headers are merged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from bistil_ds.errors import InputError
from bistil_ds.models.licences import UNKNOWN, merge_licences, public_name


class SftMetadata(TypedDict, total=False):
    """Known keys of an SFT's header. All are optional, because published files carry none; other keys are kept.

    Attributes:
        base_model: folder or hub id of the model that the differences are for.
        base_hash: `hash_weights` of that model's folder.
        task: the task it was trained on; `mlm` means a language SFT, which goes with any task.
        labels: the classes of the task head, in the order of its outputs.
        languages: codes of the languages it was trained on.
        density: number of changed entries divided by the number of maskable entries of the base model.
        max_length: the longest input in training, in tokens.
        sentence: for task `embed`, how the model makes vectors (`SentenceSettings.as_dict`).
        licence: SPDX identifier or expression.
        licences: name of a model or data set that the SFT comes from → its licence or `unknown`. Names look like
            `model org/name` and `data en: train.txt`.
    """

    base_model: str
    base_hash: str
    task: str
    labels: list[str]
    languages: list[str]
    density: float
    max_length: int
    sentence: dict[str, Any]
    licence: str
    licences: dict[str, str]


LANGUAGE_TASK = "mlm"
_TASK_KEYS = ("task", "labels", "max_length", "sentence")
MANY: dict[tuple[type, ...], str] = {(list,): "a list of strings", (dict,): "names with strings"}
_TYPES: dict[str, tuple[type, ...]] = {
    "base_model": (str,),
    "base_hash": (str,),
    "task": (str,),
    "labels": (list,),
    "languages": (list,),
    "density": (float, int),
    "max_length": (int,),
    "licence": (str,),
    "licences": (dict,),
}


def check_metadata(name: str, metadata: Mapping[str, Any]) -> None:
    """Raise InputError for a known key whose value has a wrong type; None stands for an unknown value."""
    for key, types in _TYPES.items():
        value = metadata.get(key)
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        strings = all(isinstance(item, str) for item in items)
        if value is not None and (not isinstance(value, types) or isinstance(value, bool) or not strings):
            wanted = MANY.get(types) or " or ".join(t.__name__ for t in types)
            raise InputError(f"SFT {name}: {key} in its header is {value!r}, expected {wanted}; save or fetch it again")


def check_task(name: str, metadata: Mapping[str, Any], task: str) -> None:
    """Raise InputError when the SFT was made for another task than `task`; a language SFT goes with any."""
    made_for = metadata.get("task")
    if made_for not in (None, LANGUAGE_TASK, task):
        raise InputError(f"SFT {name} was made for {made_for}, asked for {task}: give the SFT of the task you want")


def merge_metadata(names: tuple[str, str], one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the header of the sum of two SFTs.

    If both SFTs state a hash of the base model, the hashes must be equal. The sum has the languages of both. Task,
    labels and longest input come from the task SFT. Differing licences become one SPDX expression, and the `licences`
    of both are merged. `density` is dropped, because it describes the training of one SFT.

    Raises:
        InputError: the two were made for different base models or tasks.
    """
    hashes = [meta.get("base_hash") for meta in (one, other)]
    if all(hashes) and hashes[0] != hashes[1]:
        made_for = [f"{meta.get('base_model', 'an unnamed model')} ({meta['base_hash'][:12]})" for meta in (one, other)]
        raise InputError(
            f"SFT {names[0]} was made for {made_for[0]}, SFT {names[1]} for {made_for[1]}: only SFTs of one model go "
            "together"
        )
    tasks = [meta.get("task") for meta in (one, other)]
    real = [task for task in tasks if task not in (None, LANGUAGE_TASK)]
    if len(set(real)) > 1:
        raise InputError(
            f"SFT {names[0]} was made for {tasks[0]}, SFT {names[1]} for {tasks[1]}: one model has one task"
        )
    merged = {**one, **other}
    owner = other if tasks[1] in real or not tasks[0] else one
    for key in ("density", *_TASK_KEYS):
        merged.pop(key, None)
    merged |= {key: owner[key] for key in _TASK_KEYS if key in owner}
    for key in ("base_model", "base_hash"):  # one of the two SFTs may lack the key
        merged[key] = one.get(key) or other.get(key)
    merged["languages"] = list(dict.fromkeys([*(one.get("languages") or []), *(other.get("languages") or [])]))
    licences = dict.fromkeys(meta["licence"] for meta in (one, other) if meta.get("licence"))
    merged["licence"] = " AND ".join(licences)
    merged["licences"] = merge_licences(*(meta.get("licences") or {} for meta in (one, other)))
    return {key: value for key, value in merged.items() if value not in (None, [], {}, "")}


def licences_of(name: str, metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the SFT's `licences`, and under `name` the licence of the SFT itself.

    The SFT's own licence is left out if it is not stated and `licences` lists others.
    """
    parts, own = metadata.get("licences") or {}, metadata.get("licence")
    return {**parts, f"fine-tuning {public_name(name)}": own or UNKNOWN} if own or not parts else dict(parts)


def without_density(metadata: Mapping[str, Any], *, keep_task: bool) -> dict[str, Any]:
    """Return an SFT's header without the density; unless `keep_task`, also without task, labels and longest input.

    This is the header of the difference that is left when another SFT is subtracted.
    """
    gone = {"density"} if keep_task else {"density", *_TASK_KEYS}
    return {key: value for key, value in metadata.items() if key not in gone}
