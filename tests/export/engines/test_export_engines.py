"""Test that an export writes the files of engines that are asked for, scores them, and keeps those that lose little."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_cases import LENGTH, answered, write_pos, write_task_model
from tiny import text_lines
from transformers import AutoModelForTokenClassification, AutoTokenizer

from bistil_ds.commands.export import main
from bistil_ds.errors import InputError
from bistil_ds.export.engines import data as engine_data
from bistil_ds.export.engines import writing
from bistil_ds.export.engines.check import EngineCheck, EngineError
from bistil_ds.export.engines.data import EngineData, calibration_batches, read_engine_data
from bistil_ds.export.engines.dev_sets import ACCURACY, Bitext, TaskSet
from bistil_ds.export.engines.report import Scored, most_lost
from bistil_ds.export.engines.request import EngineRequest, parse_dev_files
from bistil_ds.export.export_model import export_model
from bistil_ds.models.engines import packages
from bistil_ds.models.engines.files import parts_of
from bistil_ds.models.engines.onnx_int8 import quantise_onnx
from bistil_ds.models.engines.openvino_ir import to_openvino
from bistil_ds.models.engines.running import EngineModel
from bistil_ds.models.weight_files import SINGLE_FILE

onnx = pytest.importorskip("onnx")
ONNX, ONNX_INT8 = "model.onnx", "model_int8.onnx"
OPENVINO, OPENVINO_INT8 = "openvino_model.xml", "openvino_model_int8.xml"
EVERY = (ONNX, ONNX_INT8, OPENVINO, OPENVINO_INT8)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tagger in `model`, a dev file that it answers without an error, and calibration texts."""
    folder = tmp_path_factory.mktemp("tagger")
    loaded = write_task_model(folder / "model", "pos")
    write_pos(folder / "dev.conllu", answered(loaded, 120).examples)
    for language in ("aa", "bb"):
        (folder / f"{language}.txt").write_text("\n".join(text_lines(language, 30, seed=5)) + "\n", encoding="utf-8")
    return folder


def run(tagger: Path, out: Path, *flags: str) -> int:
    return main(["--model", str(tagger / "model"), "--task", "pos", "--output_dir", str(out), *flags])


@pytest.fixture(scope="module")
def exported(tagger: Path) -> Path:
    flags = ["--onnx", "--openvino", "--int8", "--max_loss", "50"]
    texts = ["--calibration_file", str(tagger / "aa.txt"), str(tagger / "bb.txt")]
    assert run(tagger, tagger / "out", *flags, *texts, "--dev_file", f"aa={tagger / 'dev.conllu'}") == 0
    return tagger / "out"


@pytest.fixture
def quick(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy the files that `exported` has made in place of making them again."""

    def copy(name: str, out: Path) -> None:
        for part in parts_of(exported / name):
            shutil.copy(part, out.with_suffix(part.suffix))

    def export_onnx(model: Any, tokenizer: Any, folder: Path) -> EngineCheck:
        copy(ONNX, folder / ONNX)
        return EngineCheck(1e-6, 1e-6, [(1, 2)])

    monkeypatch.setattr(writing, "export_onnx", export_onnx)
    monkeypatch.setattr(writing, "to_openvino", lambda file, out: copy(OPENVINO, out))
    monkeypatch.setattr(writing, "quantise_openvino", lambda file, out, batches: copy(OPENVINO_INT8, out))


def engines_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())["results"]["engines"]
    return found


def test_every_file_is_written_and_runs(exported: Path) -> None:
    for name in EVERY:
        assert EngineModel(exported / name).inputs == ["input_ids", "attention_mask"]
    names = {path.name for path in exported.iterdir()}
    assert {"openvino_model.bin", "openvino_model_int8.bin", SINGLE_FILE} < names
    assert not [name for name in names if name.startswith((".", "prepared"))]


@pytest.mark.parametrize("name", [*EVERY, "dynamic"])
def test_every_file_answers_nearly_as_the_model_does(exported: Path, tmp_path: Path, name: str) -> None:
    file = exported / name
    if name == "dynamic":
        quantise_onnx(exported / ONNX, file := tmp_path / "dynamic.onnx")
    batch = AutoTokenizer.from_pretrained(exported)(text_lines("aa", 16), padding=True, return_tensors="pt")
    model, real = AutoModelForTokenClassification.from_pretrained(exported).eval(), batch["attention_mask"].bool()
    with torch.no_grad():
        expected = model(**batch).logits[real]
    error = (EngineModel(file)(**batch).logits[real] - expected).square().mean().sqrt()
    spread = (expected - expected.mean(0)).square().mean().sqrt()  # how far the answers differ by input
    is_fp32 = name in (ONNX, OPENVINO)
    assert error <= (1e-5 if is_fp32 else 0.2) * spread
    assert is_fp32 or error > 1e-3 * spread  # int8 it is


def test_every_file_is_scored_beside_the_model_in_pytorch(exported: Path) -> None:
    report = engines_of(exported)
    assert report["scores"] == {"aa": {"accuracy": 1.0}}
    files = report["files"]
    assert list(files) == list(EVERY)
    for name in (ONNX, OPENVINO):
        assert (files[name]["weights"], files[name]["loss"]) == ("fp32", 0.0)
        assert 0 < files[name]["check"]["relative"] < 1e-4
    for name in (ONNX_INT8, OPENVINO_INT8):
        assert files[name]["weights"] == "int8"
        assert 0 < files[name]["loss"] < 20
        assert files[name]["loss"] == pytest.approx(100 - 100 * files[name]["scores"]["aa"]["accuracy"])
    assert report["calibration_texts"] == 60
    assert all(files[name]["bytes"] > 0 for name in EVERY)


def test_the_record_and_the_card_say_it(exported: Path, tagger: Path) -> None:
    record = json.loads((exported / "run.json").read_text())
    words = {f"aa={tagger / 'dev.conllu'}", str(tagger / "aa.txt"), str(tagger / "bb.txt")}
    assert record["data"].keys() == words
    assert all(len(sha256) == 64 for sha256 in record["data"].values())
    card = (exported / "README.md").read_text()
    points = 100 * engines_of(exported)["files"][OPENVINO_INT8]["scores"]["aa"]["accuracy"]
    row = next(line for line in card.splitlines() if line.startswith("| openvino_model_int8.xml"))
    assert "| OpenVINO | int8 |" in row
    assert f"| {points:.2f} |" in row
    assert "measured on 60 texts" in card


@pytest.mark.usefixtures("quick")
def test_files_that_lose_too_much_are_left_out_and_the_others_stay(tagger: Path, tmp_path: Path) -> None:
    flags = ["--onnx", "--int8", "--max_loss", "0", "--dev_file", f"aa={tagger / 'dev.conllu'}"]
    with pytest.raises(SystemExit, match=r"error: model_int8\.onnx: loses \d+\.\d\d points of accuracy on aa, more t"):
        run(tagger, tmp_path / "out", *flags)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {ONNX, SINGLE_FILE, "README.md", "run.json"} <= names
    assert ONNX_INT8 not in names
    found = engines_of(tmp_path / "out")["files"][ONNX_INT8]
    assert "more than --max_loss 0" in found["refused"]
    assert found["weights"] == "int8 dynamic"
    assert "model_int8.onnx (left out)" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.usefixtures("quick")
def test_a_loss_that_is_unknown_is_said(tagger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tagger, tmp_path / "out", "--onnx", "--int8", "--max_loss", "inf") == 0
    assert "What int8 loses was not measured." in " ".join(capsys.readouterr().out.split())
    assert "What int8 loses was not measured." in (tmp_path / "out" / "README.md").read_text()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["arguments"]["max_loss"] == "inf"


@pytest.mark.usefixtures("quick")
def test_an_openvino_model_that_differs_goes_and_so_does_its_int8(
    tagger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(file: Path, out: Path) -> None:
        model = onnx.load(file)
        bias = next(each for each in model.graph.initializer if each.name == "classifier.bias")
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.01), bias.name))
        onnx.save(model, tmp_path / "other.onnx")
        to_openvino(tmp_path / "other.onnx", out)

    monkeypatch.setattr(writing, "to_openvino", spoil)
    with pytest.raises(EngineError, match=r"^openvino_model\.xml: OpenVINO's logits differ from PyTorch's by"):
        export_model(
            tagger / "model",
            task="pos",
            output_dir=tmp_path / "out",
            openvino=True,
            int8=True,
            calibration_files=[tagger / "aa.txt"],
        )
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert SINGLE_FILE in names
    assert not [name for name in names if "openvino" in name or "onnx" in name]


@pytest.mark.usefixtures("quick")
def test_tools_that_fail_cost_one_file_only(tagger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: Path, out: Path, batches: Any) -> None:
        out.write_bytes(b"half a file")
        raise RuntimeError("Exception from src/core.cpp:132:\nCheck 'is_valid' failed\n\n")

    monkeypatch.setattr(writing, "quantise_openvino", fail)
    texts = ["--calibration_file", str(tagger / "aa.txt")]
    with pytest.raises(SystemExit, match=r"^error: openvino_model_int8\.xml: OpenVINO cannot make or run it \(Check"):
        run(tagger, tmp_path / "out", "--openvino", "--int8", *texts)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {OPENVINO, "openvino_model.bin", SINGLE_FILE, "run.json"} < names
    assert not names & {ONNX, OPENVINO_INT8}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("step", ["export_onnx", "check_engine", "EngineModel"])
def test_no_error_of_an_engine_costs_the_weights(
    tagger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """They fail while the ONNX file is made, in the check of OpenVINO's file, and where files are scored."""

    def fail(*_: Any) -> None:
        raise MemoryError("bad\nbad allocation")

    file, flags = {
        "export_onnx": (ONNX, ["--onnx"]),
        "check_engine": (OPENVINO, ["--openvino"]),
        "EngineModel": (ONNX, ["--onnx", "--dev_file", f"aa={tagger / 'dev.conllu'}"]),
    }[step]
    monkeypatch.setattr(writing, step, fail)
    with pytest.raises(SystemExit, match=rf"^error: {file}: .* cannot make or run it \(bad allocation\); .*everything"):
        run(tagger, tmp_path / "out", *flags)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {SINGLE_FILE, "README.md", "run.json"} < names
    assert not names & {ONNX, OPENVINO}


BAD = {
    "int8 of nothing": (["--int8"], "--int8: needs an engine; add --onnx or --openvino"),
    "a dev file for nothing": (["--dev_file", "aa={}/dev.conllu"], "--dev_file: scores the files of engines; add"),
    "openvino without texts": (["--openvino", "--int8"], "--int8: OpenVINO's int8 model is calibrated on texts; add"),
    "texts without int8": (["--onnx", "--calibration_file", "{}/aa.txt"], "only int8 models are calibrated"),
    "a negative loss": (["--onnx", "--max_loss", "-1"], "--max_loss -1.0: expected points, 0 or more"),
    "no number": (["--onnx", "--max_loss", "nan"], "--max_loss nan: expected points, 0 or more"),
    "no such texts": (["--onnx", "--int8", "--calibration_file", "{}/cc.txt"], "--calibration_file"),
    "two of one name": (["--onnx", "--dev_file", "aa=x", "aa=y"], "--dev_file y: several are called aa"),
    "a tag that is not known": (["--onnx", "--dev_file", "aa={}/other.conllu"], "--dev_file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_are_refused_in_one_line(
    tagger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    (tagger / "other.conllu").write_text((tagger / "dev.conllu").read_text().replace("NOUN", "THING"), encoding="utf-8")
    words, message = BAD[case]
    assert run(tagger, tmp_path / "out", *(word.format(tagger) for word in words)) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said
    assert not (tmp_path / "out").exists()


def test_openvino_without_its_packages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    there: Callable[[str], object] = packages.find_spec
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == "nncf" else there(name))
    with pytest.raises(InputError, match=r"^--openvino: nncf not installed; pip install 'bistil-ds\[openvino\]'$"):
        EngineRequest(openvino=True).check()


def test_files_may_be_named_twice_only_if_they_are_the_same() -> None:
    assert parse_dev_files(["en=a.txt", "de=b.txt"]) == {"en": "a.txt", "de": "b.txt"}
    assert parse_dev_files(None) == {}


def test_texts_are_spread_over_all_files(tmp_path: Path) -> None:
    for name in ("one", "other"):
        lines = [f"{name} {number}" for number in range(1000)]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    texts = engine_data.calibration_texts([str(tmp_path / "one.txt"), str(tmp_path / "other.txt")])
    assert [sum(text.startswith(name) for text in texts) for name in ("one", "other")] == [150, 150]
    assert texts[149] == "one 999"


def test_the_loss_is_that_of_the_worst_language() -> None:
    sets = {name: Scored([name], 9, "f1") for name in ("en", "de", "ha")}
    before = {"en": {"f1": 0.85}, "de": {"f1": 0.80}, "ha": {"f1": 0.70}}
    after = {"en": {"f1": 0.84}, "de": {"f1": 0.82}, "ha": {"f1": 0.695}}
    assert most_lost(before, after, sets) == (1.0, "en")  # not 1.0000000000000009
    loss, worst = most_lost(before, {**after, "de": {"f1": float("nan")}}, sets)
    assert worst == "de"
    assert loss != loss


@pytest.mark.slow
@pytest.mark.parametrize("task", ["ner", "pos", "dp", "nli", "qa", "mlm", "embed"])
def test_every_task_has_every_file_and_int8_answers_nearly_as_fp32_does(tmp_path: Path, task: str) -> None:
    loaded = write_task_model(tmp_path / "model", task)
    data = answered(loaded, 150)
    dev = TaskSet("aa", ["aa.txt"], loaded.task.metric, len(data.examples), data)
    texts = calibration_batches(text_lines("aa", 100, seed=5), loaded, LENGTH)
    request = EngineRequest(onnx=True, openvino=True, int8=True, max_loss=100)
    report = writing.write_engines(loaded, EngineData(request, [dev], texts), tmp_path)
    assert [each.file for each in report.kept] == list(EVERY)
    assert task == "mlm" or report.scores["aa"][loaded.task.metric] == pytest.approx(1)
    losses = {each.file: each.loss for each in report.files}
    assert losses[ONNX] == losses[OPENVINO] == pytest.approx(0, abs=0.2)
    worst = max(losses[ONNX_INT8] or 0, losses[OPENVINO_INT8] or 0)
    assert worst < (1 if task == "embed" else 25), losses
    dynamic = writing.write_engines(loaded, EngineData(EngineRequest(onnx=True, int8=True), [dev]), tmp_path / "model")
    assert (dynamic.files[1].loss or 0) < (1 if task == "embed" else 25)


def test_sentence_vectors_are_scored_by_translations_and_by_their_own_fp32(tmp_path: Path) -> None:
    loaded = write_task_model(tmp_path / "model", "embed")
    for language in ("aa", "bb"):
        (tmp_path / f"{language}.txt").write_text("\n".join(text_lines("aa", 30)) + "\n", encoding="utf-8")
    pair = f"{tmp_path / 'aa.txt'},{tmp_path / 'bb.txt'}"
    files = {"aa-bb": pair, "aa": str(tmp_path / "aa.txt")}
    data = read_engine_data(EngineRequest(onnx=True, dev_files=files), loaded, LENGTH)
    bitext, own = data.dev_sets
    assert isinstance(bitext, Bitext)
    assert [one.metric for one in data.dev_sets] == [ACCURACY, "cosine"]
    from bistil_ds.export.engines.dev_sets import answers_of

    answer = answers_of(loaded.model, loaded, "PyTorch")
    assert bitext.scores(answer) == {ACCURACY: 1.0}
    assert own.scores(answer)["cosine"] == pytest.approx(1)
    shuffled = {id(bitext.source): answer(bitext.source)[1:] + answer(bitext.source)[:1]}
    assert bitext.scores(lambda side: shuffled.get(id(side), answer(side)))[ACCURACY] < 0.2
    assert set(data.hashes()) == {f"aa-bb={tmp_path / 'aa.txt'}", f"aa-bb={tmp_path / 'bb.txt'}", f"aa={files['aa']}"}
    prompted = loaded.tokenizer("ba: " + text_lines("aa", 1)[0])["input_ids"]
    assert bitext.source.rows[0]["input_ids"] == prompted
    (batch,) = calibration_batches(text_lines("aa", 1), loaded, LENGTH)
    assert batch["input_ids"].tolist() == [prompted]
