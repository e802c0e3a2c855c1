"""Convert an ONNX file to OpenVINO's format (IR, an `.xml` and a `.bin` file), and quantise such a model to int8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from bistil_ds.console.terminal import without_bars
from bistil_ds.models.engines.packages import nncf, openvino, openvino_core
from bistil_ds.models.engines.running import feeds


def to_openvino(file: Path, out: Path) -> None:
    """Write the fp32 OpenVINO model of an ONNX file; inputs and outputs keep their names.

    Args:
        file: an fp32 ONNX file.
        out: the `.xml` file to write; the weights go to the `.bin` file beside it.
    """
    openvino().save_model(openvino_core().read_model(str(file)), str(out), compress_to_fp16=False)


def quantise_openvino(file: Path, out: Path, batches: Sequence[Mapping[str, Tensor]]) -> None:
    """Write an int8 version of an OpenVINO model by NNCF's post-training quantisation for Transformers.

    Args:
        file: the `.xml` file of an fp32 model.
        out: the `.xml` file to write; the weights go to the `.bin` file beside it.
        batches: batches of the model's inputs, from which the ranges of its activations are measured; all are used.
    """
    ov, quantiser = openvino(), nncf()
    model = openvino_core().read_model(str(file))
    names = [each.any_name for each in model.inputs]
    data = quantiser.Dataset([feeds(names, batch) for batch in batches])
    with without_bars():
        quantised = quantiser.quantize(
            model,
            data,
            model_type=quantiser.ModelType.TRANSFORMER,
            subset_size=len(batches),
            ignored_scope=quantiser.IgnoredScope(names=_one_row_tables(model)),
        )
    ov.save_model(quantised, str(out), compress_to_fp16=False)


def _one_row_tables(model: Any) -> list[str]:
    """Return the names of the look-ups in tables of one row, such as XLM-R's token types.

    OpenVINO 2026.4 replaces such a look-up by the row itself, and then cannot load the model if the row is quantised.
    """
    lookups = [each for each in model.get_ordered_ops() if each.get_type_name() == "Gather"]
    return [each.get_friendly_name() for each in lookups if _rows(each.input(0).get_partial_shape()) == 1]


def _rows(shape: Any) -> int | None:
    is_table = shape.is_static and len(shape) == 2
    return int(shape[0].get_length()) if is_table else None
