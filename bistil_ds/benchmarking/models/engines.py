"""Run an encoder's forward pass: in PyTorch (plain, compiled, int8), ONNX Runtime (fp32, int8) or OpenVINO (the same).

In shapes, B is the number of sequences, T the tokens in each, and D the width.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from bistil_ds.models.engines.files import (
    ONNX_FILE,
    ONNX_INT8_FILE,
    OPENVINO_FILE,
    OPENVINO_INT8_FILE,
    bytes_of,
    remove,
)
from bistil_ds.models.engines.onnx_int8 import quantise_onnx
from bistil_ds.models.engines.openvino_ir import quantise_openvino, to_openvino
from bistil_ds.models.engines.packages import missing_of
from bistil_ds.models.engines.running import EngineModel
from bistil_ds.models.onnx_file import write_onnx

Inputs = dict[str, Tensor]
Runner = Callable[[Inputs], object]
Conversion = Callable[[Path, Path, Sequence[Inputs]], None]  # from a file, to a file, by the samples for calibration

ONNX_STATIC_FILE = "model_int8_static.onnx"  # beside the dynamic one, which an export has under the same name
TORCH_ENGINES = ("eager", "compile", "int8")
# engine → how its file comes from the fp32 ONNX file, step by step
CONVERSIONS: dict[str, Sequence[tuple[str, Conversion]]] = {
    "onnx": (),
    "onnx-int8": [(ONNX_INT8_FILE, lambda file, out, samples: quantise_onnx(file, out))],
    "onnx-int8-static": [(ONNX_STATIC_FILE, quantise_onnx)],
    "openvino": [(OPENVINO_FILE, lambda file, out, samples: to_openvino(file, out))],
}
CONVERSIONS["openvino-int8"] = [*CONVERSIONS["openvino"], (OPENVINO_INT8_FILE, quantise_openvino)]
ENGINES = (*TORCH_ENGINES, *CONVERSIONS)
CALIBRATED = ("onnx-int8-static", "openvino-int8")  # engines that measure the ranges of activations beforehand


@dataclass(frozen=True)
class Engine:
    """A model in an engine.

    Attributes:
        start: returns the function that runs a forward pass, with the given number of threads on a CPU. The function
            takes one mapping, with `input_ids` and `attention_mask`, int64 [B, T], on the device; its result holds the
            last hidden state [B, T, D], which stays on the device.
        disk_bytes: the size of the engine's file; in PyTorch, of the weights.
    """

    start: Callable[[int], Runner]
    disk_bytes: int


def unavailable(engine: str, dtype: str, device: torch.device) -> str | None:
    """Return in one line why an engine cannot run here; None if it can."""
    if engine in ("eager", "compile"):
        return None
    if dtype != "float32":
        return f"{engine} starts from float32 weights, not {dtype}"
    if engine == "int8":
        if device.type != "cpu":
            return "torch's dynamic int8 matrices run on CPU only"
        return None if torch.backends.quantized.supported_engines else "this torch has no quantized engine"
    extra = engine.partition("-")[0]
    if missing := missing_of(extra):
        return f"not installed: {', '.join(missing)}; pip install 'bistil-ds[{extra}]'"
    if extra == "openvino":
        return None if device.type == "cpu" else "OpenVINO is measured on CPU only"
    import onnxruntime

    wanted = _provider(device)
    return None if wanted in onnxruntime.get_available_providers() else f"this ONNX Runtime has no {wanted}"


def make_engine(model: PreTrainedModel, engine: str, folder: Path, samples: Sequence[Inputs] = ()) -> Engine:
    """Put a model into an engine; ONNX Runtime and OpenVINO get a file in `folder`, and do not need the model later.

    Args:
        model: an encoder in evaluation mode; the engine int8 converts it in place.
        engine: one of `ENGINES`.
        folder: an existing folder for files of this model. What is there already is not made again.
        samples: inputs on which the engines in `CALIBRATED` measure the ranges of activations.

    Raises:
        RuntimeError: ONNX Runtime cannot run on the model's GPU.
    """
    if engine == "int8":
        int8_matrices(model)
        return Engine(partial(torch_runner, model), _saved_bytes(model))
    if engine in TORCH_ENGINES:
        weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
        return Engine(partial(torch_runner, torch.compile(model) if engine == "compile" else model), weights)
    file = _write_file(model, engine, folder, samples)
    if file.suffix == ".onnx":
        if model.device.type == "cuda":
            _onnx_session(file, model.device, 1)  # raises now, so that the other engines are measured without this one
        return Engine(partial(_onnx_runner, file, model.device), bytes_of(file))
    return Engine(partial(_openvino_runner, file), bytes_of(file))


def torch_runner(module: Callable[..., object], threads: int) -> Runner:
    """Return a function that runs a forward pass of `module`, with `threads` threads on a CPU; see `Engine.start`."""
    torch.set_num_threads(threads)

    def run(inputs: Inputs) -> object:
        with torch.inference_mode():
            return module(**inputs)

    return run


def int8_matrices(module: nn.Module) -> nn.Module:
    """Convert the linear layers of `module` to dynamic int8, in place, and return it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `quantize_dynamic` is deprecated; its successor is not part of torch
        torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, inplace=True)
    return module


def _saved_bytes(module: nn.Module) -> int:
    with io.BytesIO() as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # packed int8 matrices are of a deprecated kind
        torch.save(module.state_dict(), file)
        return file.tell()


def _write_file(model: PreTrainedModel, engine: str, folder: Path, samples: Sequence[Inputs]) -> Path:
    """Return the engine's file; write it, and what it is made from, as far as they are not in `folder`."""
    names = ("input_ids", "attention_mask")
    example = {name: torch.ones(2, 8, dtype=torch.int64, device=model.device) for name in names}
    file = _written(folder / ONNX_FILE, lambda file: write_onnx(model, file, example))
    for name, convert in CONVERSIONS[engine]:
        file = _converted(convert, file, folder / name, samples)
    return file


def _converted(convert: Conversion, made: Path, out: Path, samples: Sequence[Inputs]) -> Path:
    return _written(out, lambda file: convert(made, file, samples))


def _written(file: Path, write: Callable[[Path], None]) -> Path:
    if not file.is_file():
        try:
            write(file)
        except BaseException:
            remove(file)
            raise
    return file


def _provider(device: torch.device) -> str:
    return "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"


def _onnx_session(file: Path, device: torch.device, threads: int) -> Any:
    """Return a session on the device.

    Raises:
        RuntimeError: ONNX Runtime fell back to another device, as it does if a library of the GPU's is missing.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    settings = {"device_id": device.index or 0} if device.type == "cuda" else {}
    session = onnxruntime.InferenceSession(str(file), options, providers=[(_provider(device), settings)])
    if (found := session.get_providers()[0]) != _provider(device):
        raise RuntimeError(f"ONNX Runtime cannot load its {_provider(device)}, and would run on its {found}")
    return session


def _onnx_runner(file: Path, device: torch.device, threads: int) -> Runner:
    session = _onnx_session(file, device, threads)
    if device.type == "cuda":
        return bound_runner(session, device)
    return lambda inputs: session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})


def bound_runner(session: Any, device: torch.device) -> Runner:
    """Return a function that runs a forward pass and copies nothing: inputs and outputs are on the device."""
    outputs, place = [each.name for each in session.get_outputs()], (device.type, device.index or 0)

    def run(inputs: Inputs) -> object:
        binding, whole = session.io_binding(), {name: tensor.contiguous() for name, tensor in inputs.items()}
        for name, tensor in whole.items():
            binding.bind_input(name, *place, np.int64, tuple(tensor.shape), tensor.data_ptr())
        for name in outputs:
            binding.bind_output(name, *place)
        session.run_with_iobinding(binding)
        return binding.get_outputs()

    return run


def _openvino_runner(file: Path, threads: int) -> Runner:
    model: Any = EngineModel(file, threads)
    return lambda inputs: model(**inputs)
