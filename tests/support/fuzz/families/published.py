"""Files of the published LT-SFT code, `pytorch_diff.bin`: pickles of tensors, numbers and other things."""

from __future__ import annotations

import io
import warnings
from functools import cache
from random import Random
from typing import Any

import numpy as np
import torch
from random_sfts import DENSE, EMBEDDINGS

from bistil_ds.sft.published import PUBLISHED_FILE
from fuzz.families.sfts import run
from fuzz.family import Family
from fuzz.mutation import ODD_VALUES, mutated_bytes, often


@cache
def _odd_tensors() -> list[Any]:
    """Return tensors of kinds that a fine-tuning does not have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls some of them deprecated or new
        return _made_odd_tensors()


def _made_odd_tensors() -> list[Any]:
    values = torch.tensor([[0.5, -0.5], [0.0, 1.0]])
    kinds = [torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.bool, torch.complex64]
    kinds += [torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16]
    return [
        *(values.to(kind) for kind in kinds),
        values.to_sparse(),
        values.to_sparse_csr(),
        torch.quantize_per_tensor(values, 0.1, 0, torch.qint8),
        torch.nested.nested_tensor([values[0], values[1, :1]]),
        torch.nn.Parameter(values),
        values.t(),
        values[:, :0],
        torch.tensor(1.0),
        torch.full((2, 2), float("nan")),
        torch.ones(1).expand(2**40),
        torch.empty(2, 2, device="meta"),
    ]


def _diff(rng: Random) -> dict[str, Any]:
    shape, count = rng.choice([(40, 8), (12, 8)]), rng.choice([0, 1, 3])
    first = rng.choice([np.int64(2), 2, -1, 10**9, 10**30])
    steps: Any = [first, *[rng.choice([1, 1, 7, 0]) for _ in range(count - 1)]][:count]
    diff: dict[str, Any] = {"size": torch.Size(shape), "index_steps": steps, "values": torch.full((count,), 0.25)}
    if rng.random() < 0.2:
        key = rng.choice(list(diff))
        shapes = [(8,), (2**40, 2**40), (-1, -1), (0, 8), [], "ab", (1.5, 2)]
        diff[key] = rng.choice([*ODD_VALUES, *_odd_tensors(), *shapes, np.float64(0.5), [[1], [2, 3]], range(3)])
    return diff


def make(rng: Random) -> tuple[dict[str, bytes], dict[str, Any]]:
    names = rng.sample([EMBEDDINGS, DENSE, *rng.choice([[], [], ["no.such", 3, None]])], rng.randint(0, 2))
    content: Any = {"diffs": {name: _diff(rng) for name in names}}
    if rng.random() < 0.6:
        content["abs"] = {
            "classifier.weight": often(rng, 0.4, lambda: rng.choice(_odd_tensors()), torch.ones(3, 8)),
            **({EMBEDDINGS: 3} if rng.random() < 0.1 else {}),
        }
    if rng.random() < 0.1:
        content = rng.choice(
            [*ODD_VALUES, {"diffs": rng.choice(ODD_VALUES)}, {**content, "abs": rng.choice(ODD_VALUES)}]
        )
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=rng.random() < 0.8)
    data = file.getvalue()
    return {PUBLISHED_FILE: often(rng, 0.15, lambda: mutated_bytes(rng, data), data)}, {"task": "ner", "other": {}}


FAMILY = Family("published fine-tunings", 0.04, make, run, lines=("sft/published.py",))
