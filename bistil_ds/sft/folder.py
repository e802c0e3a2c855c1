"""Our folder of a sparse fine-tuning (SFT): `sft.safetensors` (tensors) and `sft.json` (shapes and metadata)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from bistil_ds.errors import InputError
from bistil_ds.runs.cache import file_hash
from bistil_ds.runs.files import read_json, replace_when_written
from bistil_ds.sft.tensors import check_plain

TENSORS_FILE, HEADER_FILE = "sft.safetensors", "sft.json"
FORMAT = "bistil_ds sparse fine-tuning, version 1"

Sparse = tuple[tuple[int, ...], torch.Tensor, torch.Tensor]


def write_folder(
    folder: str | Path, sparse: dict[str, Sparse], dense: dict[str, torch.Tensor], metadata: dict[str, Any]
) -> None:
    """Write both files, the header `sft.json` last.

    The header holds the hash of the tensors' file. So after an interrupted save, `read_folder` finds the old pair, or
    it refuses the new tensors because their header is missing or old.

    Args:
        sparse: name → (shape, sorted row-major flat indices int32 or int64 [K], values [K]).
        dense: name → whole tensor.
        metadata: anything JSON can hold.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    # Clone the tensors, because tied heads share memory and safetensors refuses tensors that do.
    tensors = {f"dense/{name}": tensor.contiguous().clone() for name, tensor in dense.items()}
    for name, (_, indices, values) in sparse.items():
        tensors |= {f"indices/{name}": indices.contiguous(), f"values/{name}": values.contiguous()}
    # The last context manager exits first. So the tensors' file is moved into place before the header.
    with replace_when_written(target / HEADER_FILE) as header_part, replace_when_written(target / TENSORS_FILE) as part:
        save_file(tensors, part)
        header = {
            "format": FORMAT,
            "metadata": metadata,
            "shapes": {name: list(shape) for name, (shape, _, _) in sparse.items()},
            "tensors_sha256": file_hash(part),
        }
        text = json.dumps(header, indent=1, ensure_ascii=False) + "\n"
        header_part.write_text(text, encoding="utf-8", errors="backslashreplace")  # see `write_whole`


def _shape(sizes: Any) -> tuple[int, ...]:
    """Return the sizes as a tuple; raise ValueError unless a tensor can have them."""
    shape = tuple(sizes)
    if (
        not isinstance(sizes, list)
        or not all(type(size) is int and size >= 0 for size in shape)
        or math.prod(shape) >= 2**63
    ):
        raise ValueError(f"{shape!r:.60} is no shape")
    return shape


def read_folder(folder: Path) -> tuple[dict[str, Sparse], dict[str, torch.Tensor], dict[str, Any]]:
    """Return the sparse part, the dense part and the metadata that `write_folder` wrote.

    Raises:
        InputError: a file is missing or damaged, or the two do not belong together.
    """
    path = folder / TENSORS_FILE
    header = read_json(folder / HEADER_FILE, "save or fetch the SFT again", keys=("format",))
    if header["format"] != FORMAT:
        raise InputError(f"{folder / HEADER_FILE}: format {header['format']!r}, this version reads {FORMAT!r}")
    try:
        if header["tensors_sha256"] != file_hash(path):
            raise InputError(f"{path} is not the file {HEADER_FILE} describes: save or fetch the SFT again")
        tensors = load_file(path)
        shapes = {name: _shape(shape) for name, shape in header["shapes"].items()}
        sparse = {
            name: (shape, tensors[f"indices/{name}"], tensors[f"values/{name}"]) for name, shape in shapes.items()
        }
        dense = {key.removeprefix("dense/"): tensor for key, tensor in tensors.items() if key.startswith("dense/")}
        for name, tensor in [*((name, values) for name, (_, _, values) in sparse.items()), *dense.items()]:
            check_plain(name, tensor)
        if len(tensors) != 2 * len(sparse) + len(dense):
            raise ValueError("the header gives no shape of some of the differences")
        return sparse, dense, dict(header["metadata"])
    except InputError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        SafetensorError,
    ) as error:
        raise InputError(f"{folder} is not a readable SFT folder ({error!r}): save or fetch it again") from error
