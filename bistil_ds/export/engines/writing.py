"""Write the files that a request asks for, compare and score them, and delete those that fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from bistil_ds.console.terminal import waiting
from bistil_ds.export.engines.check import RUNTIMES, EngineError, check_engine, model_inputs
from bistil_ds.export.engines.data import EngineData
from bistil_ds.export.engines.onnx import export_onnx
from bistil_ds.export.engines.report import DYNAMIC, FP32, STATIC, EngineFile, EngineReport, Scores
from bistil_ds.export.engines.scoring import most_lost, score
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
    before: Scores = {}
    if data.dev_sets:
        before = score(loaded.model, loaded, data.dev_sets, "PyTorch")
        made = [each if each.refused else _scored(each, before, loaded, data, folder) for each in made]
    for each in made:
        if each.refused:
            remove(folder / each.file)
    return EngineReport(
        loaded.task.metric,
        made,
        {str(one.language): (Path(one.source).name, len(one.examples)) for one in data.dev_sets},
        before,
        sum(weight.numel() * weight.element_size() for weight in loaded.model.parameters()),
        len(data.calibration),
    )


def _make(loaded: LoadedTaskModel, data: EngineData, folder: Path) -> list[EngineFile]:
    request, names, made = data.request, model_inputs(loaded.model, loaded.tokenizer), []
    onnx, openvino = folder / ONNX_FILE, folder / OPENVINO_FILE
    try:
        check = export_onnx(loaded.model, loaded.tokenizer, folder)
    except EngineError as error:
        return [EngineFile(ONNX_FILE, RUNTIMES[".onnx"], FP32, refused=str(error))]
    if request.onnx:
        made.append(EngineFile(ONNX_FILE, RUNTIMES[".onnx"], FP32, bytes_of(onnx), check))
    if request.onnx and request.int8:
        weights = STATIC if data.calibration else DYNAMIC
        quantise = partial(quantise_onnx, onnx, batches=data.calibration or None)
        made.append(_written(folder / ONNX_INT8_FILE, weights, quantise))
    if request.openvino:
        file = _written(openvino, FP32, partial(to_openvino, onnx))
        try:
            file = replace(file, check=check_engine(openvino, loaded.model, names))
        except EngineError as error:
            file = replace(file, refused=str(error))
        made.append(file)
        if request.int8 and not file.refused:
            quantise = partial(quantise_openvino, openvino, batches=data.calibration)
            made.append(_written(folder / OPENVINO_INT8_FILE, STATIC, quantise))
    if not request.onnx:
        remove(onnx)
    return made


def _written(out: Path, weights: str, write: Callable[[Path], None]) -> EngineFile:
    with waiting(f"writing {out.name}"):
        write(out)
    return EngineFile(out.name, RUNTIMES[out.suffix], weights, bytes_of(out))


def _scored(each: EngineFile, before: Scores, loaded: LoadedTaskModel, data: EngineData, folder: Path) -> EngineFile:
    """Return the file with its scores, refused if it loses more than the request allows."""
    metric, allowed = loaded.task.metric, data.request.max_loss
    after = score(EngineModel(folder / each.file), loaded, data.dev_sets, each.file)
    loss, where = most_lost(before, after, metric)
    refused = ""
    if not loss <= allowed:  # written so that NaN fails, too
        refused = f"loses {loss:.2f} points of {metric} on {where}, more than --max_loss {allowed:g}"
    return replace(each, scores=after, loss=loss, refused=refused)
