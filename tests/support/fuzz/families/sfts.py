"""Folders of sparse fine-tunings in our format: `sft.json`, and `sft.safetensors` byte by byte."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch
from random_sfts import CONFIG, DENSE, EMBEDDINGS, small_model, small_sft

from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sft.folder import FORMAT, HEADER_FILE, TENSORS_FILE
from bistil_ds.sft.metadata import check_metadata, licences_of
from fuzz.family import Family
from fuzz.mutation import ODD_VALUES, mutated_bytes, mutated_json, often

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
BYTES |= {"U16": 2, "U32": 4, "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "C64": 8, "F4": 1, "F6_E2M3": 1}
USUAL = ["F32", "F32", "F16", "BF16", "F64"]
METADATA: dict[str, list[Any]] = {
    "base_model": ["xlm-r", "", 3],
    "base_hash": ["0" * 64, ""],
    "task": ["ner", "mlm", "x", None],
    "labels": [["O", "B-PER"], [], [1], "O"],
    "languages": [["en"], ["\ud800"], None],
    "density": [0.1, 1e308, -1, "all"],
    "max_length": [64, 0, -1, 10**30, 1.5],
    "sentence": [{"pooling": ["mean"]}, {}, 3],
    "licence": ["MIT", "x\ny", []],
    "licences": [{"model x": "MIT"}, {"a": 3}],
}


def metadata(rng: Random) -> dict[str, Any]:
    """Return some metadata, most of it right."""
    return {
        key: often(rng, 0.1, lambda: rng.choice(ODD_VALUES), rng.choice(METADATA[key][: rng.choice([1, 1, 9])]))
        for key in rng.sample(sorted(METADATA), rng.randint(0, 4))
    }


def _tensors(rng: Random) -> tuple[dict[str, tuple[str, list[int], bytes]], dict[str, Any]]:
    """Return name → (dtype, shape, bytes), and the shapes of the parameters that change."""
    tensors: dict[str, tuple[str, list[int], bytes]] = {}
    shapes: dict[str, Any] = {}
    for name, shape in rng.sample(
        [(EMBEDDINGS, [40, 8]), (DENSE, [12, 8]), ("no.such", [3])][: rng.choice([2, 2, 2, 3])], rng.randint(0, 2)
    ):
        count = rng.choice([0, 1, 3])
        kind = often(rng, 0.2, lambda: rng.choice(list(BYTES)), rng.choice(USUAL))
        indices = sorted(rng.sample(range(shape[0]), count)) if rng.random() < 0.8 else [5, 5, -1, 2**31 - 1][:count]
        width, code = rng.choice([("I32", "i"), ("I32", "i"), ("I64", "q")])
        tensors[f"indices/{name}"] = (width, [count], struct.pack(f"<{count}{code}", *indices))
        tensors[f"values/{name}"] = _values(rng, kind, [count])
        shapes[name] = often(rng, 0.1, lambda: rng.choice([*ODD_VALUES, [8, 40], [2**62, 2], [0], [-1]]), shape)
    for name in rng.sample(["classifier.weight", "classifier.bias", EMBEDDINGS], rng.choice([0, 0, 1, 2])):
        kind = often(rng, 0.2, lambda: rng.choice(list(BYTES)), "F32")
        tensors[f"dense/{name}"] = _values(rng, kind, rng.choice([[3, 8], [3], [0], [], [40, 8]]))
    return tensors, shapes


def _values(rng: Random, kind: str, shape: list[int]) -> tuple[str, list[int], bytes]:
    size = BYTES[kind]
    for part in shape:
        size *= part
    content = struct.pack(f"<{size // 4}f", *[0.25] * (size // 4)) if kind == "F32" else bytes(size)
    return kind, shape, rng.randbytes(size) if rng.random() < 0.2 else content


def safetensors_file(rng: Random, tensors: Mapping[str, tuple[str, list[int], bytes]]) -> bytes:
    """Return the bytes of a safetensors file; its header or data may be damaged."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}} if rng.random() < 0.5 else {}
    data = b""
    for name, (kind, shape, content) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = mutated_json(rng, header) if header and rng.random() < 0.15 else json.dumps(header).encode()
    whole = struct.pack("<Q", len(text)) + text + data
    return mutated_bytes(rng, whole) if rng.random() < 0.15 else whole


def make(rng: Random) -> tuple[dict[str, bytes], dict[str, Any]]:
    tensors, shapes = _tensors(rng)
    content = safetensors_file(rng, tensors)
    header: dict[str, Any] = {"format": FORMAT, "metadata": metadata(rng), "shapes": shapes}
    header["tensors_sha256"] = hashlib.sha256(content).hexdigest()
    text = mutated_json(rng, header) if rng.random() < 0.15 else json.dumps(header).encode()
    return {HEADER_FILE: text, TENSORS_FILE: content}, {"task": rng.choice(["ner", "mlm"]), "other": metadata(rng)}


@cache
def model() -> Any:
    """Return a model that some of the fine-tunings fit."""
    assert CONFIG.vocab_size == 40
    return small_model()


def run(folder: Path, about: Mapping[str, Any]) -> None:
    """Load a fine-tuning, add it to another, save it, and change a model by it and back, to the bit."""
    sft = SparseFineTuning.load(folder)
    again = folder / "again"
    sft.save(again)
    assert SparseFineTuning.load(again).sparse.keys() == sft.sparse.keys()
    sft.save_published(again)
    (again / HEADER_FILE).unlink()
    assert SparseFineTuning.load(again).sparse.keys() == sft.sparse.keys()
    sft.check_task(about["task"])
    licences_of(sft.name, sft.metadata)
    before = {name: value.clone() for name, value in model().state_dict().items()}
    sft.apply(model())
    sft.revert(model())
    assert all(torch.equal(value, before[name]) for name, value in model().state_dict().items())
    check_metadata("other", about.get("other", {}))
    other = small_sft()
    other.metadata |= about.get("other", {})
    (other + sft - sft).save(again)


FAMILY = Family(
    "fine-tunings",
    0.06,
    make,
    run,
    lines=("sft/folder.py", "sft/tensors.py", "sft/metadata.py", "sft/changes.py"),
)
