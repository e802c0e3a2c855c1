"""Test the ONNX twin of an export: the same outputs in ONNX Runtime, or no file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from export_folders import INPUTS, export, in_memory, write_task_sft
from random_sfts import random_sft
from student_models import tiny_config, tiny_teacher
from transformers import BertTokenizerFast

from bistil_ds.export.engines.check import (
    IMPOSSIBLE,
    OnnxMismatchError,
    check_engine,
    checked_shapes,
    random_batch,
)
from bistil_ds.models import onnx_file


@pytest.fixture(scope="module")
def with_onnx(student: Path, ner: Path) -> Path:
    pytest.importorskip("onnxruntime")
    assert export(student, [ner], student.parent / "with onnx", "--onnx") == 0
    return student.parent / "with onnx"


def check_against_onnx_runtime(folder: Path, model: Any, inputs: list[str]) -> None:
    """Compare with ONNX Runtime on a shape that the export did not check: relative difference in the max norm."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    assert [each.name for each in session.get_inputs()] == inputs
    batch = random_batch(model, inputs, rows=7, length=23, seed=9)
    with torch.no_grad():
        expected = model(**batch)
    found = session.run(list(expected), {name: tensor.numpy() for name, tensor in batch.items()})
    for name, theirs in zip(expected, found):
        assert theirs.shape == expected[name].shape
        possible = expected[name] > IMPOSSIBLE
        difference = (torch.from_numpy(theirs) - expected[name])[possible].abs().max()
        assert difference <= 1e-4 * expected[name][possible].abs().max(), name


def test_onnx_runtime_gives_the_same_outputs(student: Path, ner: Path, with_onnx: Path) -> None:
    check_against_onnx_runtime(with_onnx, in_memory(student, [ner], "ner"), INPUTS)
    found = json.loads((with_onnx / "run.json").read_text())["results"]["engines"]["files"]["model.onnx"]["check"]
    assert 0 < found["relative"] < 1e-4
    assert f"at most {found['absolute']:.1e}" in (with_onnx / "README.md").read_text()


@pytest.mark.parametrize("task", ["dp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("pos", "nli", "qa"))])
def test_every_task_has_its_onnx_twin(student: Path, tmp_path: Path, task: str) -> None:
    pytest.importorskip("onnxruntime")
    sft = write_task_sft(tmp_path / "sft", student, task)
    assert export(student, [sft], tmp_path / "out", "--onnx") == 0
    inputs = [*INPUTS, "word_positions"] if task == "dp" else INPUTS
    check_against_onnx_runtime(tmp_path / "out", in_memory(student, [sft], task), inputs)


def test_a_parser_on_bert_has_a_twin_that_takes_token_types(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    base = tmp_path / "bert"
    tiny_teacher("bert", layers=2).save_pretrained(base)
    (base / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]))
    BertTokenizerFast.from_pretrained(base).save_pretrained(base)
    sft = write_task_sft(tmp_path / "sft", base, "dp")
    assert export(base, [sft], tmp_path / "out", "--onnx") == 0
    inputs = [*INPUTS, "token_type_ids", "word_positions"]
    check_against_onnx_runtime(tmp_path / "out", in_memory(base, [sft], "dp"), inputs)


@pytest.mark.slow
def test_weights_too_large_for_one_onnx_file_lie_beside_it(
    student: Path, ner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnx_file, "LARGEST_FILE", 1000)
    assert export(student, [ner], tmp_path / "out", "--onnx") == 0
    assert (tmp_path / "out" / "model.onnx.data").stat().st_size > 1000
    check_against_onnx_runtime(tmp_path / "out", in_memory(student, [ner], "ner"), INPUTS)


@pytest.mark.parametrize("pad", [0, 1, 6])
def test_random_tokens_are_all_but_the_padding(pad: int) -> None:
    model = tiny_teacher("bert", layers=1, vocab_size=7, pad_token_id=pad)
    batch = random_batch(model, INPUTS, rows=3, length=40, seed=0)
    real = batch["attention_mask"].bool()
    assert set(batch["input_ids"][real].tolist()) == set(range(7)) - {pad}
    assert set(batch["input_ids"][~real].tolist()) == {pad}


@pytest.mark.parametrize(("positions", "longest"), [(40, 40), (8192, 2048)])
def test_the_longest_batch_is_one_row_that_fits_into_memory(positions: int, longest: int) -> None:
    assert checked_shapes(tiny_config("bert", max_position_embeddings=positions))[-1] == (1, longest)


def test_an_onnx_file_of_other_weights_is_found_out(student: Path, ner: Path, with_onnx: Path) -> None:
    model = in_memory(student, [ner], "ner")
    random_sft(model, seed=1, share=0.001).apply(model)
    with pytest.raises(OnnxMismatchError, match="logits differ from PyTorch's by"):
        check_engine(with_onnx / "model.onnx", model, INPUTS)


def test_an_onnx_file_that_fails_the_check_goes_and_the_rest_stays(
    student: Path, with_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(model: Any, *, f: str, **_: Any) -> None:
        shutil.copy(with_onnx / "model.onnx", f)

    monkeypatch.setattr(torch.onnx, "export", wrong)
    other = write_task_sft(tmp_path / "sft", student, "ner", seed=3)
    with pytest.raises(SystemExit, match=r"error: model\.onnx: ONNX Runtime's logits differ .* holds everything else"):
        export(student, [other], tmp_path / "out", "--onnx")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "model.safetensors" in names
    assert not [name for name in names if "onnx" in name or name.startswith(".")]
    assert "model.onnx (left out)" in (tmp_path / "out" / "README.md").read_text()
