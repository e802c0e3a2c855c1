"""Write the files that a request asks for, compare and score them, and delete those that fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from bistil_ds.console.terminal import waiting
from bistil_ds.console.untrusted import one_line
from bistil_ds.export.engines.check import RUNTIMES, EngineError, check_engine, model_inputs, random_batch
from bistil_ds.export.engines.data import EngineData
from bistil_ds.export.engines.dev_sets import answers_of
from bistil_ds.export.engines.onnx import export_onnx
from bistil_ds.export.engines.report import (
    DYNAMIC,
    FP32,
    STATIC,
    EngineFile,
    EngineReport,
    Scored,
    Scores,
    most_lost,
)
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
from bistil_ds.models.engines.running import EngineModel
from bistil_ds.tasks.models import LoadedTaskModel


def write_engines(loaded: LoadedTaskModel, data: EngineData, folder: Path) -> EngineReport:
    """Write the files that `data.request` asks for into `folder`; a file that is refused is deleted again.

    All files are made from `model.onnx`, so none is made if ONNX Runtime computes something else than the model.

    Args:
        loaded: the model in fp32, on the CPU.
    """
    made = _make(loaded, data, folder)
    before = _scores(loaded.model, "PyTorch", loaded, data)
    dev_sets = {
        one.name: Scored([Path(file).name for file in one.files], one.examples, one.metric) for one in data.dev_sets
    }
    if dev_sets:
        made = [each if each.refused else _compared(each, before, dev_sets, loaded, data, folder) for each in made]
    for each in made:
        if each.refused:
            remove(folder / each.file)
    size = sum(weight.numel() * weight.element_size() for weight in loaded.model.parameters())
    return EngineReport(made, dev_sets, before, size, len(data.calibration))


def _make(loaded: LoadedTaskModel, data: EngineData, folder: Path) -> list[EngineFile]:
    request, names, made = data.request, model_inputs(loaded.model, loaded.tokenizer), []
    onnx, openvino = folder / ONNX_FILE, folder / OPENVINO_FILE
    try:
        check = export_onnx(loaded.model, loaded.tokenizer, folder)
    except Exception as error:
        return [EngineFile(ONNX_FILE, RUNTIMES[".onnx"], FP32, refused=_reason(error, onnx))]
    if request.onnx:
        made.append(EngineFile(ONNX_FILE, RUNTIMES[".onnx"], FP32, bytes_of(onnx), check))
    if request.onnx and request.int8:
        weights = STATIC if data.calibration else DYNAMIC
        quantise = partial(quantise_onnx, onnx, batches=data.calibration or None)
        made.append(_written(folder / ONNX_INT8_FILE, weights, quantise, loaded))
    if request.openvino:
        file = _written(openvino, FP32, partial(to_openvino, onnx), loaded)
        try:
            if not file.refused:
                file = replace(file, check=check_engine(openvino, loaded.model, names))
        except Exception as error:
            file = replace(file, refused=_reason(error, openvino))
        made.append(file)
        if request.int8 and not file.refused:
            quantise = partial(quantise_openvino, openvino, batches=data.calibration)
            made.append(_written(folder / OPENVINO_INT8_FILE, STATIC, quantise, loaded))
    if not request.onnx:
        remove(onnx)
    return made


def _written(out: Path, weights: str, write: Callable[[Path], None], loaded: LoadedTaskModel) -> EngineFile:
    """Write a file and run it once; return it, refused if the engine's tools fail or its outputs are not finite."""
    try:
        with waiting(f"writing {out.name}"):
            write(out)
            batch = random_batch(loaded.model, model_inputs(loaded.model, loaded.tokenizer), rows=2, length=8, seed=0)
            odd = [name for name, values in EngineModel(out)(**batch).items() if not values.isfinite().all()]
        refused = f"its {odd[0]} are not finite" if odd else ""
    except Exception as error:
        refused = _reason(error, out)
    return EngineFile(out.name, RUNTIMES[out.suffix], weights, bytes_of(out), refused=refused)


def _reason(error: Exception, file: Path) -> str:
    """Return in one line why a file is left out.

    Engines and their tools have no common error class, and whatever they raise, all else is good without the file.
    """
    if isinstance(error, EngineError):
        return str(error)
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"{RUNTIMES[file.suffix]} cannot make or run it ({one_line(lines[-1]):.200})"


def _scores(model: nn.Module, name: str, loaded: LoadedTaskModel, data: EngineData) -> Scores:
    answer = answers_of(model, loaded, name)
    return {one.name: one.scores(answer) for one in data.dev_sets}


def _compared(
    each: EngineFile,
    before: Scores,
    dev_sets: Mapping[str, Scored],
    loaded: LoadedTaskModel,
    data: EngineData,
    folder: Path,
) -> EngineFile:
    """Return the file with its scores, refused if it cannot be run or loses more than the request allows."""
    allowed = data.request.max_loss
    try:
        after = _scores(EngineModel(folder / each.file), each.file, loaded, data)
    except Exception as error:
        return replace(each, refused=_reason(error, folder / each.file))
    loss, worst = most_lost(before, after, dev_sets)
    refused = ""
    if not loss <= allowed:  # written so that NaN fails, too
        refused = f"loses {loss:.2f} points of {dev_sets[worst].metric} on {worst}, more than --max_loss {allowed:g}"
    return replace(each, scores=after, loss=loss, refused=refused)
