"""Our own files beside a student's weights: kept ids, alignment with the teacher, projections, origin.

Transformers loads the student without them. Phase 2, export and the restriction of sparse fine-tunings read them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.runs.files import read_json
from bistil_ds.student.projections import FILE as PROJECTIONS
from bistil_ds.vocabulary.kept_ids import FILE_NAME as KEPT_IDS
from bistil_ds.vocabulary.kept_ids import Ids, load_kept_ids

ALIGNMENT = "distillation.json"
ORIGIN = "origin.json"  # see origin.py
ADVICE = "build the student again"
OURS = (KEPT_IDS, ALIGNMENT, PROJECTIONS, ORIGIN)


def write_alignment(folder: Path, *, teacher: str, languages: Sequence[str], layer_map: Sequence[int]) -> None:
    """Write `distillation.json`: the teacher's name, the languages, and each student layer's teacher layer (from 0)."""
    content = {"teacher": teacher, "languages": list(languages), "layer_map": list(layer_map)}
    (folder / ALIGNMENT).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Alignment:
    """Content of `distillation.json`; a value that the file lacks is None or empty.

    Attributes:
        teacher: the teacher's name, a hub id or a path.
        languages: codes of the languages of the student's text.
        layer_map: each student layer's teacher layer, counted from 0.
    """

    teacher: str | None
    languages: tuple[str, ...]
    layer_map: tuple[int, ...] | None


def read_alignment(folder: Path) -> Alignment | None:
    """Return the content of a student folder's `distillation.json`; None if there is no such file.

    Raises:
        InputError: the file is broken.
    """
    path = folder / ALIGNMENT
    if not path.is_file():
        return None
    content = read_json(path, ADVICE)
    teacher, languages, layers = (content.get(key) for key in ("teacher", "languages", "layer_map"))
    if not (teacher is None or isinstance(teacher, str)):
        raise InputError(f"{path}: its teacher is no name; {ADVICE}")
    if not _is_list(languages, str):
        raise InputError(f"{path}: its languages are no list of codes; {ADVICE}")
    if not _is_list(layers, int):
        raise InputError(f"{path}: its layer_map does not list layers; {ADVICE}")
    return Alignment(teacher, tuple(languages or ()), tuple(layers) if layers else None)


def _is_list(value: Any, kind: type) -> bool:
    """Return whether the value is None or a list of values of that very type."""
    return value is None or (isinstance(value, list) and all(type(item) is kind for item in value))


def read_layer_map(folder: Path) -> list[int] | None:
    """Return the layer map of a student folder; None if the folder has no `distillation.json`.

    Raises:
        InputError: `distillation.json` is broken or has no layer map.
    """
    alignment = read_alignment(folder)
    if alignment is not None and alignment.layer_map is None:
        raise InputError(f'{folder / ALIGNMENT}: has no "layer_map"; {ADVICE}')
    return None if alignment is None else list(alignment.layer_map or ())


def base_vocab_size(folder: Path) -> int:
    """Return the number of tokens in the teacher's vocabulary before it was trimmed for this student.

    Raises:
        InputError: `kept_ids.json` is missing or broken.
    """
    size = read_json(folder / KEPT_IDS, ADVICE, keys=("base_vocab_size",))["base_vocab_size"]
    if type(size) is not int:
        raise InputError(f"{folder / KEPT_IDS}: base_vocab_size is {size!r:.40}, no whole number; {ADVICE}")
    return size


def kept_ids_of(student: str, teacher_vocab_size: int) -> Ids | None:
    """Return the teacher's token ids that a student kept, int64 ascending; None if the student is not trimmed.

    Raises:
        InputError: the student was trimmed from a vocabulary of another size than `teacher_vocab_size`.
    """
    if not (Path(student) / KEPT_IDS).is_file():
        return None
    kept_ids = load_kept_ids(student)
    if (base := base_vocab_size(Path(student))) != teacher_vocab_size:
        raise InputError(
            f"--student {student}: was trimmed from a vocabulary of {base} tokens, the teacher has "
            f"{teacher_vocab_size}; give the teacher it was built from"
        )
    return kept_ids


def model_bytes(folder: Path) -> int:
    """Return the size in bytes of a model folder's weight files, without the projections."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors") if path.name != PROJECTIONS)
