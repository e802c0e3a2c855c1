"""Test the engines through which models are measured: each computes what the model computes, at any size."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from bistil_ds.benchmarking.models import engines
from bistil_ds.benchmarking.models.engines import ENGINES, Inputs, make_engine, unavailable
from bistil_ds.benchmarking.models.subject import random_inputs
from bistil_ds.models.engines import packages
from bistil_ds.models.engines.files import bytes_of
from bistil_ds.models.onnx_file import write_onnx

CPU = torch.device("cpu")
FP32 = ("eager", "onnx", "openvino")


def tiny_encoder() -> BertModel:
    config = BertConfig(
        vocab_size=61,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
    )
    torch.manual_seed(0)
    return BertModel(config, add_pooling_layer=False).eval()


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the ONNX file of `tiny_encoder`, which every engine's file is made from."""
    pytest.importorskip("onnxscript")
    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(tiny_encoder(), file, random_inputs(61, 2, 8, CPU))
    return file


def batch(rows: int, length: int) -> Inputs:
    found = random_inputs(61, rows, length, CPU)
    found["attention_mask"][0, length // 2 :] = 0
    return found


@pytest.mark.parametrize("engine", [each for each in ENGINES if each != "compile"])
def test_an_engine_computes_what_the_model_computes_at_any_size(
    engine: str, onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "write_onnx", lambda model, file, example: shutil.copy(onnx_file, file))
    model = tiny_encoder()
    made = make_engine(tiny_encoder(), engine, tmp_path, [random_inputs(61, 8, 20, CPU)])
    for threads in (1, 2):
        run: Any = made.start(threads)
        for rows, length in ((1, 5), (3, 40)):
            inputs = batch(rows, length)
            with torch.no_grad():
                expected_BTD = model(**inputs).last_hidden_state
            output = run(inputs)
            found_BTD = torch.as_tensor(output[0] if isinstance(output, list) else output["last_hidden_state"])
            assert found_BTD.shape == expected_BTD.shape
            error = (found_BTD - expected_BTD).abs().max() / expected_BTD.abs().max()
            assert error <= (1e-4 if engine in FP32 else 0.1)
            assert engine in FP32 or error > 1e-4  # so it did compute with int8


def test_inputs_that_lie_on_the_device_are_run_without_a_copy(onnx_file: Path) -> None:
    """Here the device is the CPU; on a GPU, the address of the inputs is the GPU's."""
    run: Any = engines.bound_runner(engines._onnx_session(onnx_file, CPU, 1), CPU)
    for rows, length in ((1, 5), (3, 40)):
        inputs = batch(rows, length)
        with torch.no_grad():
            expected_BTD = tiny_encoder()(**inputs).last_hidden_state
        (found_BTD,) = run(inputs)
        torch.testing.assert_close(torch.from_numpy(found_BTD.numpy()), expected_BTD, rtol=1e-4, atol=1e-5)


def test_a_session_that_fell_back_to_the_cpu_is_no_gpu(onnx_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime, asked = pytest.importorskip("onnxruntime"), []
    real = onnxruntime.InferenceSession

    def on_cpu(file: str, options: Any, providers: list[Any]) -> Any:
        asked.extend(providers)
        return real(file, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", on_cpu)
    with pytest.raises(RuntimeError, match="cannot load its CUDAExecutionProvider, and would run on its CPUExec"):
        engines._onnx_session(onnx_file, torch.device("cuda:1"), 1)
    assert asked == [("CUDAExecutionProvider", {"device_id": 1})]


def test_files_are_made_once_and_their_size_is_told(
    onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def copy(model: BertModel, file: Path, example: Inputs) -> None:
        made.append(file)
        shutil.copy(onnx_file, file)

    monkeypatch.setattr(engines, "write_onnx", copy)
    sizes = {name: make_engine(tiny_encoder(), name, tmp_path).disk_bytes for name in ("onnx", "openvino")}
    assert sizes == {"onnx": bytes_of(made[0]), "openvino": bytes_of(tmp_path / "openvino_model.xml")}
    monkeypatch.setattr(engines, "CONVERSIONS", {"onnx": [], "openvino": [("openvino_model.xml", refuse)]})
    assert {name: make_engine(tiny_encoder(), name, tmp_path).disk_bytes for name in sizes} == sizes
    assert len(made) == 1


def refuse(*arguments: Any) -> None:
    raise OSError("no space left")


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(model: BertModel, file: Path, example: Inputs) -> None:
        file.write_text("half")
        refuse()

    monkeypatch.setattr(engines, "write_onnx", break_off)
    with pytest.raises(OSError, match="no space"):
        make_engine(tiny_encoder(), "onnx", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_size_in_pytorch_is_that_of_the_weights(tmp_path: Path) -> None:
    model = tiny_encoder()
    weights = 4 * sum(p.numel() for p in model.parameters())
    assert make_engine(model, "eager", tmp_path).disk_bytes == weights
    matrices = sum(p.numel() for name, p in model.named_parameters() if p.dim() == 2 and "embeddings" not in name)
    assert make_engine(model, "int8", tmp_path).disk_bytes < weights - matrices


def test_a_missing_package_is_told_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    assert unavailable("openvino-int8", "float32", CPU) is None
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == "nncf" else True)
    reason = unavailable("openvino-int8", "float32", CPU)
    assert reason == "not installed: nncf; pip install 'bistil-ds[openvino]'"
    assert unavailable("onnx-int8", "float32", CPU) is None
