"""Write a model as an ONNX file that takes any number of rows and any length, for exports and benchmarks."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

PACKAGES = ("onnx", "onnxruntime", "onnxscript")  # needed to write and to run ONNX files
LARGEST_FILE = 1_900_000_000  # bytes; protobuf allows 2 GiB, so larger weights get a file of their own


def missing_packages() -> list[str]:
    """Return the packages in `PACKAGES` that are not installed."""
    return [name for name in PACKAGES if find_spec(name) is None]


def write_onnx(model: PreTrainedModel, file: Path, example: Mapping[str, Tensor]) -> None:
    """Write `model` to `file`, and weights of more than `LARGEST_FILE` bytes to `<file>.data` beside it.

    The file's inputs have the names in `example`; its outputs have the names in the model's output object. The file
    accepts any number of rows and any length in tokens. All inputs have the same length, except `word_positions`, which
    has a length of its own.

    Args:
        model: the model, in evaluation mode.
        example: name → int64 [rows, tokens], on the model's device. Both sizes must be at least 2, because a file made
            from a size of 1 accepts no other size.
    """
    with torch.no_grad():
        outputs = list(model(**example))
    rows, length, words = (torch.export.Dim(name) for name in ("batch", "length", "words"))
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            model,
            kwargs=dict(example),
            f=str(file),
            dynamo=True,
            input_names=list(example),
            output_names=outputs,
            dynamic_shapes={name: {0: rows, 1: words if name == "word_positions" else length} for name in example},
            external_data=sum(p.numel() * p.element_size() for p in model.parameters()) > LARGEST_FILE,
            verbose=False,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress all warnings, because the exporter warns about packages that we do not use."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
