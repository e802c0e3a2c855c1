"""Write and read `pytorch_diff.bin`, the file of the published LT-SFT code; reading runs no code from the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bistil_ds.errors import InputError
from bistil_ds.models.config_file import check_pickled
from bistil_ds.runs.files import replace_when_written
from bistil_ds.sft.tensors import check_plain

PUBLISHED_FILE = "pytorch_diff.bin"

RowMajor = tuple[tuple[int, ...], np.ndarray, torch.Tensor]


def write_published(file: Path, diffs: Mapping[str, RowMajor], dense: Mapping[str, torch.Tensor]) -> None:
    """Write a file that `read_published` can read; it holds nothing but tensors and plain numbers.

    Args:
        diffs: name → (shape, sorted row-major flat indices int [K], values [K]).
        dense: name → whole tensor.
    """
    content = {
        "diffs": {name: _column_major(*diff) for name, diff in diffs.items()},
        "abs": {name: tensor.detach().cpu().clone() for name, tensor in dense.items()},
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    with replace_when_written(file) as part:
        torch.save(content, part)


def _column_major(shape: tuple[int, ...], flat_K: np.ndarray, values_K: torch.Tensor) -> dict[str, Any]:
    sizes = shape or (1,)  # numpy finds no place in an array without axes
    column_major_K = np.ravel_multi_index(np.unravel_index(flat_K.astype(np.int64), sizes), sizes, order="F")
    order = np.argsort(column_major_K, kind="stable")
    steps = np.diff(column_major_K[order], prepend=0)
    values_K = values_K.detach().cpu()[torch.from_numpy(order)]
    return {"size": torch.Size(shape), "index_steps": steps.tolist(), "values": values_K}


class _IntegerType:
    """Stand-in for `numpy.dtype` while unpickling; it accepts integer types only."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in {"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"}:
            raise ValueError(f"numpy type {code!r}")
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


def _integer(kind: _IntegerType, data: bytes | str) -> int:
    """Stand in for numpy's scalar constructor while unpickling."""
    raw = data.encode("latin1") if isinstance(data, str) else data
    return int(np.frombuffer(raw, dtype=kind.order + kind.code)[0])


# (our stand-in, the name in the file that it replaces). Files from numpy 1 and 2 have different names. The unpickler
# calls our stand-ins, never numpy.
_ALLOWED: list[Any] = [
    (_IntegerType, "numpy.dtype"),
    (_integer, "numpy.core.multiarray.scalar"),
    (_integer, "numpy._core.multiarray.scalar"),
]


def read_published(file: Path) -> tuple[dict[str, RowMajor], dict[str, torch.Tensor]]:
    """Read the sparse differences and the dense tensors of a published SFT.

    Returns:
        Two mappings: name → (shape, sorted row-major flat indices int64 [K], values [K]), and name → dense tensor.

    Raises:
        InputError: the file would run code when loaded, is damaged, or is not an SFT.
    """
    check_pickled(file)
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or damaged file can provoke any error
        reason = next((line.strip() for line in str(error).splitlines() if "nsupported" in line), type(error).__name__)
        raise InputError(f"{file} is refused: damaged, or a pickle that holds more than tensors ({reason})") from error
    if not isinstance(content, dict) or not isinstance(content.get("diffs"), dict):
        raise InputError(f'{file} is not an SFT: it has no "diffs"; give the folder of a sparse fine-tuning')
    diffs = {}
    for name, encoded in content["diffs"].items():
        try:
            diffs[str(name)] = _row_major(encoded)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{file}: the difference for {name} cannot be decoded ({error!r})") from error
    dense = content.get("abs") or {}
    if not isinstance(dense, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in dense.values()):
        raise InputError(f'{file}: "abs" is not a table of tensors')
    try:
        for name, tensor in dense.items():
            check_plain(str(name), tensor)
    except ValueError as error:
        raise InputError(f"{file}: {error}; save or fetch it again") from None
    return diffs, {str(name): tensor.detach() for name, tensor in dense.items()}


def _row_major(encoded: dict[str, Any]) -> RowMajor:
    shape = tuple(int(n) for n in encoded["size"])
    check_plain("values", encoded["values"])
    values = encoded["values"].detach().reshape(-1)
    steps = encoded["index_steps"]
    if not isinstance(steps, torch.Tensor) and any(isinstance(step, list | tuple | dict) for step in steps):
        raise ValueError("index_steps are no list of numbers")  # numpy could make a huge array of a small nested list
    steps = np.asarray(steps)
    if steps.size and not np.issubdtype(steps.dtype, np.integer):  # fractions, or integers too large for 64 bits
        raise ValueError("index_steps are no 64-bit integers")
    column_major = np.cumsum(steps.astype(np.int64))
    if len(column_major) != len(values):
        raise ValueError(f"{len(column_major)} indices for {len(values)} values")
    sizes = shape or (1,)
    coordinates = np.unravel_index(column_major, sizes, order="F")  # ValueError where out of range
    flat = np.ravel_multi_index(coordinates, sizes)
    order = np.argsort(flat, kind="stable")
    return shape, flat[order], values[torch.from_numpy(order)]
