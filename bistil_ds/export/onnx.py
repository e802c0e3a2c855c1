"""Export a task model as `model.onnx` for any batch size and length; keep the file only if it agrees with PyTorch.

Shapes: B rows, T tokens, W words.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.console.progress import progress_bar
from bistil_ds.console.terminal import waiting
from bistil_ds.errors import InputError
from bistil_ds.models.inputs import longest_input, padding_id
from bistil_ds.models.onnx_file import missing_packages, write_onnx

ONNX_FILE = "model.onnx"
TOLERANCE = 1e-4  # share of an output's largest absolute value
DIFFERENT_CHOICES = 1e-3  # share of integer outputs (best classes) that may differ: scores may tie within rounding
IMPOSSIBLE = -1e4  # the score that our models give to a choice that cannot be made


class OnnxMismatchError(Exception):
    """Error: ONNX Runtime's outputs of a model differ from PyTorch's."""


@dataclass(frozen=True)
class OnnxCheck:
    """The result of a comparison with PyTorch.

    Attributes:
        absolute: the largest absolute difference of an output.
        relative: the largest difference relative to the largest absolute value of the same output in the same batch.
        shapes: (rows, tokens) of each batch that was compared.
    """

    absolute: float
    relative: float
    shapes: list[tuple[int, int]]


def require_onnx() -> None:
    """Raise InputError if a package that the export needs is not installed."""
    if missing := missing_packages():
        raise InputError(f"--onnx: {', '.join(missing)} not installed; pip install 'bistil-ds[onnx]'")


def export_onnx(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> OnnxCheck:
    """Write `model.onnx` into `folder` and compare it with the model on random batches of several shapes.

    The inputs are those of the tokenizer that the model takes, and `word_positions` for a parser. The outputs have the
    same names as those of the model.

    Args:
        model: a task model in fp32, on the CPU, in evaluation mode.

    Raises:
        OnnxMismatchError: the outputs differ by more than `TOLERANCE`, or integer outputs by more than
            `DIFFERENT_CHOICES`. The file is deleted then, as on any error.
    """
    names = _inputs(model, tokenizer)
    file, data = folder / ONNX_FILE, folder / f"{ONNX_FILE}.data"
    try:
        with waiting(f"writing {ONNX_FILE}"):
            write_onnx(model, file, random_batch(model, names, rows=2, length=9, seed=0))
        return check_onnx(file, model, names)
    except BaseException:
        for path in (file, data):
            path.unlink(missing_ok=True)
        raise


def check_onnx(file: Path, model: PreTrainedModel, names: list[str]) -> OnnxCheck:
    """Run file and model on the same batches, one of them at the model's full length, and compare the outputs.

    Raises:
        OnnxMismatchError: the outputs differ too much; see `export_onnx`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    shapes = [(1, 3), (2, 8), (5, 17), (2, longest_input(model.config))]
    worst = (0.0, 0.0)
    for seed, (rows, length) in enumerate(progress_bar(shapes, "checking model.onnx", leave=False)):
        batch = random_batch(model, names, rows, length, seed)
        with torch.no_grad():
            expected = model(**batch)
        found = session.run(list(expected), {name: tensor.numpy() for name, tensor in batch.items()})
        for name, theirs in zip(expected, found, strict=True):
            absolute, relative = _difference(theirs, expected[name].numpy())
            if not relative <= TOLERANCE:  # written so that NaN fails, too
                raise OnnxMismatchError(
                    f"ONNX Runtime's {name} differ from PyTorch's by {absolute:.2g}, {relative:.2g} of the largest, on "
                    f"{rows}x{length} tokens"
                )
            worst = max(worst[0], absolute), max(worst[1], relative)
    return OnnxCheck(*worst, shapes)


def random_batch(model: PreTrainedModel, names: list[str], rows: int, length: int, seed: int) -> dict[str, Tensor]:
    """Return the named inputs with random tokens.

    Row i ends in i padding tokens, but each row keeps at least two real tokens, or one if `length` is 1.
    """
    generator = torch.Generator().manual_seed(seed)
    pad = padding_id(model.config)
    real_B1 = (length - torch.arange(rows)).clamp(min=min(length, 2)).unsqueeze(1)
    mask_BT = (torch.arange(length) < real_B1).long()
    ids_BT = torch.randint(pad + 1, model.config.vocab_size, (rows, length), generator=generator)
    second_BT = (torch.arange(length) >= length // 2).long() * mask_BT
    positions_W = torch.arange(1, max(2, length // 2 + 1))
    batch = {
        "input_ids": torch.where(mask_BT.bool(), ids_BT, pad),
        "attention_mask": mask_BT,
        "token_type_ids": second_BT.clamp(max=getattr(model.config, "type_vocab_size", 1) - 1),
        "word_positions": torch.where(positions_W < real_B1, positions_W, -1),
    }
    return {name: batch[name] for name in names}


def _inputs(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    taken = inspect.signature(model.forward).parameters
    wanted = {"input_ids", "attention_mask", *tokenizer.model_input_names, "word_positions"}
    order = ("input_ids", "attention_mask", "token_type_ids", "word_positions")
    return [name for name in order if name in wanted and name in taken]


def _difference(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> tuple[float, float]:
    if np.issubdtype(expected.dtype, np.integer):
        share = float((found != expected).mean())
        return 0.0, 0.0 if share <= DIFFERENT_CHOICES else share
    possible = expected != IMPOSSIBLE
    if found.shape != expected.shape or (found[~possible] != IMPOSSIBLE).any():
        return float("inf"), float("inf")
    absolute = float(np.abs(found - expected)[possible].max())
    return absolute, absolute / float(np.abs(expected[possible]).max())
