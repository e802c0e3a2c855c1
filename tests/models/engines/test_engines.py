"""Test the files for other engines: they run, and int8 stays close to fp32 on weights that depend on their input."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_cases import LENGTH, write_task_model
from tiny import text_lines
from torch import Tensor

from bistil_ds.errors import InputError
from bistil_ds.export.engines.data import calibration_batches
from bistil_ds.models import onnx_file
from bistil_ds.models.engines import onnx_int8, packages
from bistil_ds.models.engines.files import bytes_of, parts_of, remove
from bistil_ds.models.engines.onnx_int8 import quantise_onnx
from bistil_ds.models.engines.openvino_ir import quantise_openvino, to_openvino
from bistil_ds.models.engines.running import EngineModel, feeds
from bistil_ds.models.onnx_file import write_onnx

FILES = ("model.onnx", "dynamic.onnx", "static.onnx", "openvino.xml", "int8.xml")
INT8 = ("dynamic.onnx", "static.onnx", "int8.xml")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tagger in every form; calibrated on other texts than those of `batch`."""
    folder = tmp_path_factory.mktemp("engines")
    loaded = write_task_model(folder / "torch", "pos")
    calibration = calibration_batches(text_lines("aa", 40, seed=5), loaded, LENGTH)
    names = ("input_ids", "attention_mask")
    write_onnx(loaded.model, folder / "model.onnx", {name: torch.ones(2, 9, dtype=torch.int64) for name in names})
    quantise_onnx(folder / "model.onnx", folder / "dynamic.onnx")
    quantise_onnx(folder / "model.onnx", folder / "static.onnx", calibration)
    to_openvino(folder / "model.onnx", folder / "openvino.xml")
    quantise_openvino(folder / "openvino.xml", folder / "int8.xml", calibration)
    return folder


@pytest.fixture(scope="module")
def batch(files: Path) -> dict[str, Tensor]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(files / "torch")
    found: dict[str, Tensor] = dict(tokenizer(text_lines("aa", 16), padding=True, return_tensors="pt"))
    return {name: found[name] for name in ("input_ids", "attention_mask")}


@pytest.fixture(scope="module")
def expected(files: Path, batch: dict[str, Tensor]) -> Tensor:
    from transformers import AutoModelForTokenClassification

    model = AutoModelForTokenClassification.from_pretrained(files / "torch")
    with torch.no_grad():
        logits: Tensor = model(**batch).logits
    return logits


@pytest.mark.parametrize("name", FILES)
def test_every_file_answers_as_the_model_does(
    files: Path, batch: dict[str, Tensor], expected: Tensor, name: str
) -> None:
    model = EngineModel(files / name, threads=1).eval()
    found = model(**batch, labels=torch.zeros(1), token_type_ids=None)
    assert list(found) == ["logits"]
    real = batch["attention_mask"].bool()
    error = (found.logits - expected)[real].square().mean().sqrt()
    spread = (expected[real] - expected[real].mean(0)).square().mean().sqrt()  # how far the answers differ by input
    assert error <= (0.2 if name in INT8 else 1e-5) * spread
    assert name not in INT8 or error > 1e-4 * spread  # int8 it is
    one = {name: values[:1, :5] for name, values in batch.items()}
    assert model(**one).logits.shape == (1, 5, expected.shape[-1])


@pytest.mark.parametrize("name", INT8)
def test_int8_files_are_smaller(files: Path, name: str) -> None:
    fp32 = files / ("openvino.xml" if name.endswith("xml") else "model.onnx")
    weights = sum(p.stat().st_size for p in parts_of(fp32) if p.suffix != ".xml")
    assert bytes_of(files / name) - (files / name).stat().st_size * name.endswith("xml") < 0.7 * weights


def test_removing_a_model_removes_its_weights_too(files: Path, tmp_path: Path) -> None:
    to_openvino(files / "model.onnx", tmp_path / "m.xml")
    assert {path.name for path in tmp_path.iterdir()} == {"m.xml", "m.bin"}
    remove(tmp_path / "m.xml")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_weights_too_large_for_one_file_are_converted_too(
    files: Path, batch: dict[str, Tensor], expected: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForTokenClassification

    for module in (onnx_file, onnx_int8):
        monkeypatch.setattr(module, "LARGEST_FILE", 1000)
    model = AutoModelForTokenClassification.from_pretrained(files / "torch").eval()
    example = {name: torch.ones(2, 9, dtype=torch.int64) for name in batch}
    write_onnx(model, tmp_path / "model.onnx", example)
    assert [path.name for path in parts_of(tmp_path / "model.onnx")] == ["model.onnx", "model.onnx.data"]
    quantise_onnx(tmp_path / "model.onnx", tmp_path / "dynamic.onnx")
    quantise_onnx(tmp_path / "model.onnx", tmp_path / "static.onnx", [batch])
    to_openvino(tmp_path / "model.onnx", tmp_path / "openvino.xml")
    for name in ("dynamic.onnx", "static.onnx", "openvino.xml"):
        found = EngineModel(tmp_path / name)(**batch).logits
        assert (found - expected).abs().max() < 0.2 * expected.std()
        assert len(parts_of(tmp_path / name)) == 2


def test_token_types_that_a_batch_lacks_are_zero() -> None:
    batch = {"input_ids": torch.tensor([[5, 6, 7]]), "labels": torch.tensor([1])}
    arrays = feeds(["input_ids", "token_type_ids"], batch)
    assert arrays.keys() == {"input_ids", "token_type_ids"}
    assert arrays["token_type_ids"].tolist() == [[0, 0, 0]]
    assert arrays["token_type_ids"].dtype == np.int64


def test_quantising_prints_nothing(files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    calibration = [{"input_ids": torch.tensor([[0, 9, 8, 2]]), "attention_mask": torch.ones(1, 4, dtype=torch.int64)}]
    capfd.readouterr()
    quantise_onnx(files / "model.onnx", tmp_path / "int8.onnx", calibration)
    quantise_openvino(files / "openvino.xml", tmp_path / "int8.xml", calibration)
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
