"""Test evaluation of a model's file in an engine beside the model in PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest
from sentence_models import parallel_texts, write_embedder

from bistil_ds.errors import InputError
from bistil_ds.evaluation.zero_shot import evaluate
from bistil_ds.export.engines.check import model_inputs, random_batch
from bistil_ds.models.engines.files import bytes_of
from bistil_ds.models.engines.onnx_int8 import quantise_onnx
from bistil_ds.models.onnx_file import write_onnx
from bistil_ds.tasks import find_task
from bistil_ds.tasks.candidates import ModelChoice, load_choice
from bistil_ds.tasks.models import load_task_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a sentence encoder with its ONNX files, fp32 and int8."""
    pytest.importorskip("onnxscript")
    folder = write_embedder(tmp_path_factory.mktemp("model"))
    loaded = load_task_model(str(folder), (), find_task("embed"))
    names = model_inputs(loaded.model, loaded.tokenizer)
    write_onnx(loaded.model, folder / "model.onnx", random_batch(loaded.model, names, 2, 9, 0))
    quantise_onnx(folder / "model.onnx", folder / "model_int8.onnx")
    return folder


def test_an_engines_file_is_a_model_of_its_own(folder: Path, tmp_path: Path) -> None:
    pairs = []
    for name, texts in zip(("a", "b"), parallel_texts()):
        pairs.append(tmp_path / f"{name}.txt")
        pairs[-1].write_text("\n".join(texts) + "\n", encoding="utf-8")
    files = {"torch": folder, "onnx": folder / "model.onnx", "int8": folder / "model_int8.onnx"}
    found = evaluate(files, {"pairs": ",".join(map(str, pairs))}, "embed", resamples=10, progress=False)
    alike = {name: found.score("cosine", name, "pairs") for name in ("onnx", "int8")}
    assert alike["onnx"].value == pytest.approx(1, abs=1e-5)
    assert 0.9 < alike["int8"].value < 1 - 1e-5  # so the int8 file was run
    torch, onnx, int8 = found.plan.models
    assert torch.parameters == onnx.parameters == int8.parameters
    assert [onnx.bytes, int8.bytes] == [bytes_of(files["onnx"]), bytes_of(files["int8"])]
    assert len({each.weights_sha256 for each in found.plan.models}) == 3  # a card takes scores of its own weights only


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["{folder}/none.onnx"], "--model {folder}/none.onnx: there is no such file"),
        (["{folder}/model.onnx", "sft"], "--model {folder}/model.onnx+sft: an engine's file takes no fine-tuning"),
        (["{folder}/broken.onnx"], "--model {folder}/broken.onnx: its engine cannot load it"),
    ],
)
def test_a_file_that_cannot_be_run_is_named(words: list[str], expected: str, folder: Path) -> None:
    (folder / "broken.onnx").write_bytes(b"\x00")
    with pytest.raises(InputError) as caught:
        load_choice(ModelChoice("m", words[0].format(folder=folder), tuple(words[1:])), find_task("embed"))
    assert str(caught.value).startswith(expected.format(folder=folder))
    assert "\n" not in str(caught.value)
