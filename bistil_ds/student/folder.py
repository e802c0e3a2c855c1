"""The files of ours beside a student's weights: kept ids, alignment with the teacher, projections, origin.

Transformers loads the student without them. Phase 2, export and the restriction of sparse fine-tunings read them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bistil_ds.errors import InputError
from bistil_ds.runs.files import read_json
from bistil_ds.student.projections import FILE as PROJECTIONS
from bistil_ds.vocabulary.kept_ids import FILE_NAME as KEPT_IDS
from bistil_ds.vocabulary.kept_ids import Ids, load_kept_ids

ALIGNMENT = "distillation.json"
ORIGIN = "origin.json"  # see origin.py
OURS = (KEPT_IDS, ALIGNMENT, PROJECTIONS, ORIGIN)


def write_alignment(folder: Path, *, teacher: str, languages: Sequence[str], layer_map: Sequence[int]) -> None:
    """Write `distillation.json`: the teacher's name, the languages, and each student layer's teacher layer (from 0)."""
    content = {"teacher": teacher, "languages": list(languages), "layer_map": list(layer_map)}
    (folder / ALIGNMENT).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_layer_map(folder: Path) -> list[int] | None:
    """Return the layer map of a student folder; None for a folder that is not one of ours.

    Raises:
        InputError: `distillation.json` is broken.
    """
    path = folder / ALIGNMENT
    if not path.is_file():
        return None
    layers = read_json(path, "build the student again", keys=("layer_map",))["layer_map"]
    try:
        return [int(layer) for layer in layers]
    except (ValueError, TypeError):
        raise InputError(f"{path}: its layer_map does not list layers; build the student again") from None


def base_vocab_size(folder: Path) -> int:
    """Return the number of rows that the teacher's embeddings had before they were trimmed for this student."""
    return int(read_json(folder / KEPT_IDS, "build the student again", keys=("base_vocab_size",))["base_vocab_size"])


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
