"""Export a task model as `model.onnx` for any batch size and length; keep the file only if it agrees with PyTorch."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.console.terminal import waiting
from bistil_ds.export.engines.check import EngineCheck, check_engine, model_inputs, random_batch
from bistil_ds.models.engines.files import ONNX_FILE, remove
from bistil_ds.models.onnx_file import write_onnx


def export_onnx(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> EngineCheck:
    """Write `model.onnx` into `folder` and compare it with the model on random batches of several shapes.

    The inputs are those of the tokenizer that the model takes, and `word_positions` for a parser. The outputs have the
    same names as those of the model.

    Args:
        model: a task model in fp32, on the CPU, in evaluation mode.

    Raises:
        OnnxMismatchError: from `check_engine`. The file is deleted then, as on any error.
    """
    names = model_inputs(model, tokenizer)
    file = folder / ONNX_FILE
    try:
        with waiting(f"writing {ONNX_FILE}"):
            write_onnx(model, file, random_batch(model, names, rows=2, length=9, seed=0))
        return check_engine(file, model, names)
    except BaseException:
        remove(file)
        raise
