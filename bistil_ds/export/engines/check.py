"""Compare the outputs of a model's file in its engine with those of the model in PyTorch.

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
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.console.progress import progress_bar
from bistil_ds.models.engines.running import EngineModel
from bistil_ds.models.inputs import longest_input, padding_id

TOLERANCE = 1e-4  # share of an output's largest absolute value
DIFFERENT_CHOICES = 1e-3  # share of integer outputs (best classes) that may differ: scores may tie within rounding
LONGEST = 2048  # tokens; the memory of attention in ONNX Runtime grows with the square: 16 heads take about 1 GB here
IMPOSSIBLE = -1e4  # the score that our models give to a choice that cannot be made
RUNTIMES = {".onnx": "ONNX Runtime", ".xml": "OpenVINO"}


class EngineError(Exception):
    """Error for a model's file that computes something else than the model, or that loses too much quality."""


class OnnxMismatchError(EngineError):
    """Error: ONNX Runtime's outputs of a model differ from PyTorch's."""


@dataclass(frozen=True)
class EngineCheck:
    """The result of a comparison with PyTorch.

    Attributes:
        absolute: the largest absolute difference of an output.
        relative: the largest difference relative to the largest absolute value of the same output in the same batch.
        shapes: (rows, tokens) of each batch that was compared.
    """

    absolute: float
    relative: float
    shapes: list[tuple[int, int]]


def check_engine(file: Path, model: PreTrainedModel, names: list[str]) -> EngineCheck:
    """Run file and model on the batches of `checked_shapes`, and compare the outputs.

    OpenVINO computes in fp32 for this, on any CPU.

    Args:
        file: an ONNX file or the `.xml` file of an OpenVINO model, in fp32.
        model: the model in fp32, on the CPU, in evaluation mode.
        names: the names of the model's inputs.

    Raises:
        EngineError: the outputs differ by more than `TOLERANCE`, or integer outputs by more than `DIFFERENT_CHOICES`;
            an `OnnxMismatchError` if the file is an ONNX file.
    """
    engine, runtime = EngineModel(file), RUNTIMES[file.suffix]
    shapes = checked_shapes(model.config)
    worst = (0.0, 0.0)
    for seed, (rows, length) in enumerate(progress_bar(shapes, f"checking {file.name}", leave=False)):
        batch = random_batch(model, names, rows, length, seed)
        with torch.no_grad():
            expected = model(**batch)
        found = engine(**batch)
        for name in expected:
            absolute, relative = _difference(found[name].numpy(), expected[name].numpy())
            if not relative <= TOLERANCE:  # written so that NaN fails, too
                kind = OnnxMismatchError if file.suffix == ".onnx" else EngineError
                raise kind(
                    f"{runtime}'s {name} differ from PyTorch's by {absolute:.2g}, {relative:.2g} of the largest, on "
                    f"{rows}x{length} tokens"
                )
            worst = max(worst[0], absolute), max(worst[1], relative)
    return EngineCheck(*worst, shapes)


def checked_shapes(config: PretrainedConfig) -> list[tuple[int, int]]:
    """Return (rows, tokens) of the batches: the last one is a row at the model's full length, or at `LONGEST`."""
    return [(1, 3), (2, 8), (5, 17), (1, min(longest_input(config), LONGEST))]


def random_batch(model: PreTrainedModel, names: list[str], rows: int, length: int, seed: int) -> dict[str, Tensor]:
    """Return the named inputs with random tokens, none of which is the padding token.

    Row i ends in i padding tokens, but each row keeps at least two real tokens, or one if `length` is 1.
    """
    generator = torch.Generator().manual_seed(seed)
    pad = padding_id(model.config)
    real_B1 = (length - torch.arange(rows)).clamp(min=min(length, 2)).unsqueeze(1)
    mask_BT = (torch.arange(length) < real_B1).long()
    ids_BT = torch.randint(model.config.vocab_size - 1, (rows, length), generator=generator)
    ids_BT += ids_BT >= pad
    second_BT = (torch.arange(length) >= length // 2).long() * mask_BT
    positions_W = torch.arange(1, max(2, length // 2 + 1))
    batch = {
        "input_ids": torch.where(mask_BT.bool(), ids_BT, pad),
        "attention_mask": mask_BT,
        "token_type_ids": second_BT.clamp(max=getattr(model.config, "type_vocab_size", 1) - 1),
        "word_positions": torch.where(positions_W < real_B1, positions_W, -1),
    }
    return {name: batch[name] for name in names}


def model_inputs(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the inputs of the tokenizer that the model takes, and `word_positions` for a parser."""
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
