"""Test that safetensors files with absurd headers are one line, and take no memory, wherever we read one."""

from __future__ import annotations

import json
import resource
import struct
from collections.abc import Callable
from typing import Any

import pytest
import tiny
import torch

from bistil_ds.errors import InputError
from bistil_ds.models.loading import load_teacher
from bistil_ds.models.weight_files import hash_weights
from bistil_ds.runs.cache import file_hash
from bistil_ds.sft.changes import SparseDiff
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.student import load_projections

TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def file_of(header: Any, data: bytes = b"0000") -> bytes:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(content)) + content + data


FILES = {
    "empty": b"",
    "a header of 2^64 bytes": b"\xff" * 8,
    "a header of 1 TB": struct.pack("<Q", 2**40) + b"{}",
    "deep lists": file_of(b"[" * 100_000),
    "deep objects": file_of(b'{"a":' * 100_000),
    "a shape of 1e300": file_of({"w": {**TENSOR, "shape": [1e300]}}),
    "a shape that overflows": file_of({"w": {**TENSOR, "shape": [2**63, 2]}}),
    "a shape of 4 TB": file_of({"w": {**TENSOR, "shape": [2**40]}}),
    "data of 1 TB": file_of({"w": {**TENSOR, "shape": [2**38], "data_offsets": [0, 2**40]}}),
    "a type of its own": file_of({"w": {**TENSOR, "dtype": "object"}}),
}


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], list[tuple[str, Callable[[], object]]]]:
    """Return a function that puts a file in every place and returns the readers of these places."""
    folder = tmp_path_factory.mktemp("absurd")
    model = tiny.write_teacher(folder / "model", layers=1, width=16)
    SparseFineTuning("s", {"w": SparseDiff((2, 2), torch.tensor([1]), torch.ones(1))}, {}).save(folder / "sft")

    def put(content: bytes) -> list[tuple[str, Callable[[], object]]]:
        for path in (
            model / "model.safetensors",
            model / "projections.safetensors",
            folder / "sft" / "sft.safetensors",
        ):
            path.write_bytes(content)
        header = folder / "sft" / "sft.json"
        known = {**json.loads(header.read_text()), "tensors_sha256": file_hash(folder / "sft" / "sft.safetensors")}
        header.write_text(json.dumps(known))
        return [
            ("--teacher_model", lambda: load_teacher(str(model), "--teacher_model")),
            ("model.safetensors", lambda: hash_weights(model)),
            ("projections.safetensors", lambda: load_projections(model)),
            ("sft", lambda: SparseFineTuning.load(folder / "sft")),
        ]

    return put


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_an_absurd_header_is_one_line_everywhere(
    content: bytes, readers: Callable[[bytes], list[tuple[str, Callable[[], object]]]]
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, read in readers(content):
        with pytest.raises(InputError) as caught:
            read()
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB
