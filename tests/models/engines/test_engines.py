"""Test the files for other engines, of a small network: they run, and int8 ones are smaller, close, and not the same.

Files of Transformers are tested where they are exported, in `tests/export/engines`.
"""

from __future__ import annotations

import gc
import logging
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bistil_ds.errors import InputError
from bistil_ds.models.engines import onnx_int8, packages
from bistil_ds.models.engines.files import bytes_of, parts_of, remove
from bistil_ds.models.engines.onnx_int8 import quantise_onnx
from bistil_ds.models.engines.openvino_ir import quantise_openvino, to_openvino
from bistil_ds.models.engines.running import EngineModel, feeds

onnx = pytest.importorskip("onnx")
TensorProto, helper, numpy_helper = onnx.TensorProto, onnx.helper, onnx.numpy_helper
ROWS, WIDTH, CLASSES = 1000, 32, 5
INT8 = ("dynamic.onnx", "static.onnx", "int8.xml")
FILES = ("model.onnx", "openvino.xml", *INT8)


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray[Any, Any]]:
    """Return the network's weights: `types` is a table of one row, as that of XLM-R's token types."""
    draw = np.random.default_rng(0)
    shapes = {"words": (ROWS, WIDTH), "types": (1, WIDTH), "inner": (WIDTH, WIDTH), "outer": (WIDTH, CLASSES)}
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def network(weights: dict[str, np.ndarray[Any, Any]], batch: dict[str, Tensor]) -> np.ndarray[Any, Any]:
    """Return what the network computes in fp32: [B, T, CLASSES]."""
    states_BTW = weights["words"][batch["input_ids"].numpy()] + weights["types"][0]
    inner_BTW = np.maximum(states_BTW @ weights["inner"], 0) * batch["attention_mask"].numpy()[..., None]
    logits_BTC: np.ndarray[Any, Any] = inner_BTW @ weights["outer"]
    return logits_BTC


def write_network(file: Path, weights: dict[str, np.ndarray[Any, Any]]) -> None:
    sizes = ["batch", "length"]
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["word_states"]),
        helper.make_node("Sub", ["input_ids", "input_ids"], ["zeros"]),
        helper.make_node("Gather", ["types", "zeros"], ["type_states"]),
        helper.make_node("Add", ["word_states", "type_states"], ["states"]),
        helper.make_node("MatMul", ["states", "inner"], ["before"]),
        helper.make_node("Relu", ["before"], ["after"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["after", "column"], ["masked"]),
        helper.make_node("MatMul", ["masked", "outer"], ["logits"]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, sizes) for name in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [*sizes, CLASSES])
    constants = [numpy_helper.from_array(values, name) for name, values in {**weights, "last": np.array([-1])}.items()]
    graph = helper.make_graph(nodes, "network", inputs, [output], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)


def batches(seed: int, number: int = 20, rows: int = 1) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randint(0, ROWS, (rows, 7), generator=generator) for _ in range(number)]
    return [{"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT)} for ids_BT in drawn]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, np.ndarray[Any, Any]]) -> Path:
    """Return a folder with the network in every form; calibrated on other inputs than the tests use."""
    folder = tmp_path_factory.mktemp("engines")
    write_network(folder / "model.onnx", weights)
    quantise_onnx(folder / "model.onnx", folder / "dynamic.onnx")
    quantise_onnx(folder / "model.onnx", folder / "static.onnx", batches(1))
    to_openvino(folder / "model.onnx", folder / "openvino.xml")
    quantise_openvino(folder / "openvino.xml", folder / "int8.xml", batches(1))
    return folder


@pytest.mark.parametrize("name", FILES)
def test_every_file_computes_what_the_network_does(
    files: Path, weights: dict[str, np.ndarray[Any, Any]], name: str
) -> None:
    (batch,) = batches(2, number=1, rows=9)
    batch["attention_mask"][3:, 5:] = 0
    expected = network(weights, batch)
    model = EngineModel(files / name, threads=1).eval()
    found = model(**batch, labels=torch.zeros(1), token_type_ids=None)
    assert list(found) == ["logits"]
    error = np.sqrt(np.square(found.logits.numpy() - expected).mean()) / expected.std()
    assert error <= (0.1 if name in INT8 else 1e-5)
    assert name not in INT8 or error > 1e-3  # int8 it is
    assert model(**{name: values[:1, :3] for name, values in batch.items()}).logits.shape == (1, 3, CLASSES)


@pytest.mark.parametrize("name", INT8)
def test_int8_files_have_smaller_weights(files: Path, name: str) -> None:
    content = files / name if name.endswith("onnx") else (files / name).with_suffix(".bin")
    assert content.stat().st_size < 0.4 * (files / "openvino.bin").stat().st_size


def test_a_dense_layer_that_widens_vectors_is_quantised_too(tmp_path: Path) -> None:
    """As narrower students have one: a Gemm, whose weights are no square, and whose shape the file tells twice."""
    draw = np.random.default_rng(0)
    words, dense = (draw.normal(size=(rows, WIDTH)).astype(np.float32) for rows in (ROWS, 2 * WIDTH))
    constants = [numpy_helper.from_array(values, name) for name, values in {"words": words, "dense": dense}.items()]
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["states"]),
        helper.make_node("Gemm", ["states", "dense"], ["vectors"], transB=1),
    ]
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch"])]
    outputs = [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", 2 * WIDTH])]
    told = [helper.make_tensor_value_info("dense", TensorProto.FLOAT, dense.shape)]
    graph = helper.make_graph(nodes, "network", inputs, outputs, constants, value_info=told)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    quantise_onnx(tmp_path / "model.onnx", tmp_path / "dynamic.onnx")
    ids = torch.arange(9)
    found = EngineModel(tmp_path / "dynamic.onnx", threads=1).eval()(input_ids=ids).vectors.numpy()
    expected = words[:9] @ dense.T
    assert np.sqrt(np.square(found - expected).mean()) <= 0.1 * expected.std()


def test_removing_a_model_removes_its_weights_too(files: Path, tmp_path: Path) -> None:
    to_openvino(files / "model.onnx", tmp_path / "m.xml")
    assert {path.name for path in tmp_path.iterdir()} == {"m.xml", "m.bin"}
    assert bytes_of(tmp_path / "m.xml") == sum(path.stat().st_size for path in tmp_path.iterdir())
    remove(tmp_path / "m.xml")
    assert list(tmp_path.iterdir()) == []


def test_weights_too_large_for_one_file_are_quantised_too(
    files: Path, weights: dict[str, np.ndarray[Any, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_int8, "LARGEST_FILE", 1000)
    model, (batch,) = onnx.load(files / "model.onnx"), batches(2, number=1)
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="model.onnx.data")
    quantise_onnx(tmp_path / "model.onnx", tmp_path / "dynamic.onnx")
    quantise_onnx(tmp_path / "model.onnx", tmp_path / "static.onnx", batches(1))
    to_openvino(tmp_path / "model.onnx", tmp_path / "openvino.xml")
    expected = network(weights, batch)
    for name in ("dynamic.onnx", "static.onnx", "openvino.xml"):
        assert len(parts_of(tmp_path / name)) == 2
        assert np.abs(EngineModel(tmp_path / name)(**batch).logits.numpy() - expected).max() < 0.1 * expected.std()


def test_token_types_that_a_batch_lacks_are_zero() -> None:
    batch = {"input_ids": torch.tensor([[5, 6, 7]]), "labels": torch.tensor([1])}
    arrays = feeds(["input_ids", "token_type_ids"], batch)
    assert arrays.keys() == {"input_ids", "token_type_ids"}
    assert arrays["token_type_ids"].tolist() == [[0, 0, 0]]
    assert arrays["token_type_ids"].dtype == np.int64


def test_quantising_prints_nothing(files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    quantise_onnx(files / "model.onnx", tmp_path / "dynamic.onnx")
    quantise_onnx(files / "model.onnx", tmp_path / "static.onnx", batches(1, number=2))
    quantise_openvino(files / "openvino.xml", tmp_path / "int8.xml", batches(1, number=2))
    assert capfd.readouterr() == ("", "")


def test_the_engines_send_no_usage_data(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = logging.getLoggerClass()
    tools = packages.openvino().tools.ovc.telemetry_utils
    assert tools.tm.__name__ == "openvino.tools.ovc.telemetry_stub"
    assert logging.getLoggerClass() is kind
    assert packages.TELEMETRY not in sys.modules
    chosen: Any = object()
    monkeypatch.setitem(sys.modules, packages.TELEMETRY, chosen)  # somebody imported it
    packages.openvino()
    assert sys.modules[packages.TELEMETRY] is chosen


@pytest.mark.parametrize(("extra", "gone"), [("onnx", "onnxscript"), ("openvino", "openvino"), ("openvino", "nncf")])
def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, extra: str, gone: str) -> None:
    there: Callable[[str], object] = packages.find_spec
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == gone else there(name))
    with pytest.raises(InputError, match=rf"^--x: {gone} not installed; pip install 'bistil-ds\[{extra}\]'$"):
        packages.require_packages(extra, "--x")


def test_openvinos_core_is_never_freed() -> None:
    first = weakref.ref(packages.openvino_core())
    gc.collect()
    assert first() is packages.openvino_core()
