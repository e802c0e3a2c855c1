"""Run a model's file in its engine, as if it were the model itself.

Shapes: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from bistil_ds.errors import InputError
from bistil_ds.models.engines.files import EXTRA_OF
from bistil_ds.models.engines.packages import openvino_core, require_packages
from bistil_ds.models.inputs import TOKEN_TYPES

Arrays = dict[str, np.ndarray[Any, Any]]
Run = Callable[[Arrays], Arrays]


class EngineModel(nn.Module):
    """A model's `.onnx` or `.xml` file on the CPU, called like the model; without parameters, and for inference only.

    A call takes the keyword arguments of the model's forward, ignores those that the file has no input for, such as
    labels, and returns a `ModelOutput` with the file's outputs by their names.

    Args:
        file: an ONNX file, for ONNX Runtime, or the `.xml` file of an OpenVINO model.
        threads: threads of one call; None lets the engine choose.
        precision: the precision in which OpenVINO computes what is not quantised, such as `f32` or `bf16`. None lets
            OpenVINO choose; on some CPUs it then computes fp32 models in bf16. ONNX Runtime computes in fp32 always.
    """

    def __init__(self, file: str | Path, threads: int | None = None, precision: str | None = "f32") -> None:
        super().__init__()
        self.file = Path(file)
        is_onnx = self.file.suffix == ".onnx"
        self.inputs, self._run = _onnx(self.file, threads) if is_onnx else _openvino(self.file, threads, precision)

    def forward(self, **batch: Any) -> ModelOutput:
        found = self._run(feeds(self.inputs, batch))
        return ModelOutput({name: torch.from_numpy(array) for name, array in found.items()})


def run_in_engine(model: PreTrainedModel, file: Path) -> None:
    """Let `model`'s file in an engine compute its forward pass, in place and on the CPU; all else of it stays.

    Raises:
        InputError: the engine is not installed, or cannot load the file.
    """
    require_packages(EXTRA_OF[file.suffix], f"--model {file}")
    try:
        engine = EngineModel(file)
    except Exception as error:  # the engines have no common error class
        why = " ".join(str(error).split())[:200]
        raise InputError(f"--model {file}: its engine cannot load it ({type(error).__name__}: {why})") from None

    def forward(input_ids: Tensor, **batch: Any) -> ModelOutput:
        tensors = {name: each for name, each in batch.items() if isinstance(each, Tensor)}
        return engine(input_ids=input_ids.cpu(), **{name: each.cpu() for name, each in tensors.items()})

    model.forward = forward


def feeds(names: Sequence[str], batch: Mapping[str, Tensor]) -> Arrays:
    """Return the named inputs of a batch as arrays; without token types, every token has type 0."""
    arrays = {name: batch[name].numpy() for name in names if batch.get(name) is not None}
    if TOKEN_TYPES in names and TOKEN_TYPES not in arrays:
        arrays[TOKEN_TYPES] = np.zeros_like(arrays["input_ids"])
    return arrays


def _onnx(file: Path, threads: int | None) -> tuple[list[str], Run]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return [each.name for each in session.get_inputs()], lambda arrays: dict(zip(names, session.run(names, arrays)))


def _openvino(file: Path, threads: int | None, precision: str | None) -> tuple[list[str], Run]:
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    if precision:
        settings["INFERENCE_PRECISION_HINT"] = precision
    model = openvino_core().compile_model(str(file), "CPU", settings)
    names = [output.any_name for output in model.outputs]

    def run(arrays: Arrays) -> Arrays:
        found = model(arrays, share_inputs=True, share_outputs=False)
        return {name: found[place] for place, name in enumerate(names)}

    return [each.any_name for each in model.inputs], run
