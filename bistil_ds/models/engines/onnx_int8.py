"""Quantise an ONNX file to int8 with ONNX Runtime's own tools."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from bistil_ds.models.engines.files import bytes_of
from bistil_ds.models.engines.running import Arrays, EngineModel, feeds
from bistil_ds.models.onnx_file import LARGEST_FILE

OPERATORS = ["MatMul", "Gemm", "Gather"]  # matrices and embeddings, nearly all weights of a Transformer


def quantise_onnx(file: Path, out: Path, batches: Iterable[Mapping[str, Tensor]] | None = None) -> None:
    """Write an int8 version of an ONNX file: products with weight matrices and embedding tables.

    Args:
        file: an fp32 ONNX file.
        out: the file to write.
        batches: batches of the model's inputs, from which the ranges of its activations are measured (static
            quantisation, in the QDQ format). None: the ranges are measured in each call (dynamic quantisation).
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with _quiet(), TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        large = bytes_of(file) > LARGEST_FILE
        # ONNX Runtime's own graph optimisation: without it, transposed weights are no constants and stay as they are
        quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True, save_as_external_data=large)
        _forget_shapes_of_weights(prepared)
        options = {"MatMulConstBOnly": True}
        if batches is None:
            quantize_dynamic(
                prepared,
                out,
                per_channel=True,
                weight_type=QuantType.QInt8,
                use_external_data_format=large,
                extra_options=options,
            )
            return
        quantize_static(
            prepared,
            out,
            _Reader(EngineModel(file).inputs, batches),
            op_types_to_quantize=OPERATORS,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            use_external_data_format=large,
            extra_options={**options, "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
        )


def _forget_shapes_of_weights(file: Path) -> None:
    """Remove what an ONNX file says about the shapes of its weights beside the weights themselves.

    Dynamic quantisation transposes the weights of a Gemm and keeps what was said of them, which is wrong then.
    """
    import onnx

    model = onnx.load(file, load_external_data=False)
    weights = {weight.name for weight in model.graph.initializer}
    kept = [shape for shape in model.graph.value_info if shape.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    onnx.save(model, file)


class _Reader:
    """The calibration batches in the form that ONNX Runtime reads."""

    def __init__(self, names: list[str], batches: Iterable[Mapping[str, Tensor]]) -> None:
        self._arrays = (feeds(names, batch) for batch in batches)

    def get_next(self) -> Arrays | None:
        return next(self._arrays, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the log lines of the tools, which warn of settings that we chose."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
