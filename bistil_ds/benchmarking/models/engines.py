"""Run an encoder's forward pass: eager, compiled, through ONNX Runtime, or with int8 matrices.

In shapes, B is the number of sequences, T the tokens in each, and D the width.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from bistil_ds.models.onnx_file import missing_packages, write_onnx

Inputs = dict[str, Tensor]
Runner = Callable[[Inputs], object]
ENGINES = ("eager", "compile", "int8", "onnx", "onnx-int8")


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
    if missing := missing_packages():
        return f"not installed: {', '.join(missing)}"
    import onnxruntime

    wanted = _provider(device)
    return None if wanted in onnxruntime.get_available_providers() else f"this ONNX Runtime has no {wanted}"


def make_runner(model: PreTrainedModel, engine: str, device: torch.device, threads: int) -> Runner:
    """Return a function that runs a forward pass of `model` through an engine, with `threads` threads on a CPU.

    The function takes one mapping, with `input_ids` and `attention_mask`, int64 [B, T], on the device. It returns
    transformers' output object or, from ONNX Runtime, a list of arrays; both hold the last hidden state [B, T, D]. The
    engine int8 converts `model` in place.
    """
    torch.set_num_threads(threads)
    if engine.startswith("onnx"):
        return _onnx_runner(model, device, threads, int8=engine == "onnx-int8")
    module: Callable[..., object] = int8_matrices(model) if engine == "int8" else model
    module = torch.compile(model) if engine == "compile" else module

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


def _provider(device: torch.device) -> str:
    return "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"


def _onnx_runner(model: PreTrainedModel, device: torch.device, threads: int, int8: bool) -> Runner:
    import onnxruntime
    from onnxruntime.quantization import quantize_dynamic

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        names = ("input_ids", "attention_mask")
        write_onnx(model, path, {name: torch.ones(2, 8, dtype=torch.int64, device=model.device) for name in names})
        if int8:
            quantize_dynamic(path, path := path.with_name("int8.onnx"))
        session = onnxruntime.InferenceSession(str(path), options, providers=[_provider(device)])

    def run(inputs: Inputs) -> object:
        return session.run(None, {name: tensor.cpu().numpy() for name, tensor in inputs.items()})

    return run
