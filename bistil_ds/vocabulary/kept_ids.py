"""Save, load and check the kept ids of a trimmed vocabulary: `kept_ids[new id] = old id`, ascending."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bistil_ds.errors import InputError
from bistil_ds.runs.files import read_json

Ids = npt.NDArray[np.int64]
FILE_NAME = "kept_ids.json"


def save_kept_ids(folder: str | Path, kept_ids: Ids, base_vocab_size: int) -> None:
    """Write `kept_ids.json` into an existing folder.

    `base_vocab_size` is the number of embedding rows of the untrimmed model.
    """
    check_kept_ids(kept_ids, base_vocab_size)
    content = {"base_vocab_size": base_vocab_size, "kept_ids": kept_ids.tolist()}
    (Path(folder) / FILE_NAME).write_text(json.dumps(content), encoding="utf-8")


def load_kept_ids(folder: str | Path) -> Ids:
    """Read a student folder's `kept_ids.json`: int64 [V_new], new id → old id.

    Raises:
        InputError: the file is missing or broken.
    """
    path = Path(folder) / FILE_NAME
    content = read_json(path, "give a student's folder, or build it again", keys=("base_vocab_size", "kept_ids"))
    try:
        kept_ids = np.asarray(content["kept_ids"])
        check_kept_ids(kept_ids, int(content["base_vocab_size"]))
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: {error}; build the student again") from None
    return kept_ids


def check_kept_ids(kept_ids: Ids, base_vocab_size: int) -> None:
    """Raise ValueError unless `kept_ids` is a non-empty, strictly ascending int64 vector.

    Its ids must be at least 0 and below `base_vocab_size`.
    """
    if kept_ids.ndim != 1 or kept_ids.dtype != np.int64 or not len(kept_ids):
        raise ValueError("kept ids must be a non-empty vector of whole numbers")
    if (np.diff(kept_ids) <= 0).any():
        raise ValueError("kept ids must ascend, each once")
    if kept_ids[0] < 0 or kept_ids[-1] >= base_vocab_size:
        raise ValueError(
            f"kept ids reach from {kept_ids[0]} to {kept_ids[-1]}, outside a vocabulary of {base_vocab_size}"
        )
