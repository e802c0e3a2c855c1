"""Test that an export is a folder that transformers loads, with the bits of base plus SFTs."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from export_folders import CLASSES, INPUTS, LABELS, export, in_memory, same_outputs, write_task_sft
from transformers import AutoModel, AutoTokenizer

from bistil_ds.commands.export import main
from bistil_ds.models.engines import packages
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.tasks import find_task
from bistil_ds.tasks.candidates import ModelCache, ModelChoice, examine
from bistil_ds.tasks.parsing.parser import BiaffineParser


@pytest.mark.parametrize("task", list(CLASSES))
def test_the_folder_loads_with_transformers_alone_and_has_the_bits_of_base_plus_sft(
    student: Path, tmp_path: Path, task: str
) -> None:
    sft = write_task_sft(tmp_path / "sft", student, task)
    assert export(student, [sft], tmp_path / "out") == 0
    auto = getattr(transformers, CLASSES[task])
    loaded, loading = auto.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    assert same_outputs(in_memory(student, [sft], task), loaded, INPUTS)
    if LABELS[task]:
        assert loaded.config.id2label == dict(enumerate(LABELS[task]))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    text = "baba kelo mi."
    assert tokenizer(text)["input_ids"] == AutoTokenizer.from_pretrained(student)(text)["input_ids"]
    assert tokenizer.model_max_length == 64


def test_a_parser_is_exported_with_its_head(student: Path, tmp_path: Path) -> None:
    sft = write_task_sft(tmp_path / "sft", student, "dp")
    assert export(student, [sft], tmp_path / "out") == 0
    loaded = BiaffineParser.from_pretrained(tmp_path / "out")
    assert same_outputs(in_memory(student, [sft], "dp"), loaded, [*INPUTS, "word_positions"])
    assert list(loaded.config.id2label.values()) == LABELS["dp"]
    encoder = AutoModel.from_pretrained(tmp_path / "out", add_pooling_layer=False)
    assert torch.equal(encoder.embeddings.word_embeddings.weight, loaded.get_input_embeddings().weight)


def test_several_sfts_are_merged_in_order(student: Path, ner: Path, tmp_path: Path) -> None:
    language = write_task_sft(tmp_path / "language", student, "mlm", seed=5)
    assert export(student, [language, ner], tmp_path / "out") == 0
    loaded = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path / "out")
    assert same_outputs(in_memory(student, [language, ner], "ner"), loaded, INPUTS)
    assert not same_outputs(in_memory(student, [ner], "ner"), loaded, INPUTS)


def test_the_folder_holds_nothing_but_the_model_its_card_and_the_record(
    student: Path, ner: Path, tmp_path: Path
) -> None:
    assert export(student, [ner], tmp_path / "out") == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    tokenizer = {"tokenizer.json", "tokenizer_config.json"}
    assert names == {"config.json", "model.safetensors", "README.md", "run.json", *tokenizer}
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["arguments"]["sft"] == [str(ner)]
    assert len(record["results"]["weights_sha256"]) == 64
    assert record["finished"]


def test_an_exported_model_can_be_exported_again(student: Path, ner: Path, tmp_path: Path) -> None:
    assert export(student, [ner], tmp_path / "out") == 0
    again = ["--model", str(tmp_path / "out"), "--task", "ner", "--output_dir", str(tmp_path / "again")]
    assert main(again) == 0
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_an_exported_model_is_evaluated_at_the_length_it_was_trained_at(
    student: Path, ner: Path, tmp_path: Path
) -> None:
    assert export(student, [ner], tmp_path / "out") == 0
    task = find_task("ner")
    exported = examine(ModelChoice("x", str(tmp_path / "out")), ModelCache(task), None)
    parts = examine(ModelChoice("x", str(student), (str(ner),)), ModelCache(task), None)
    assert exported.max_length == parts.max_length == 48
    assert exported.weights_sha256 == parts.weights_sha256


def test_a_real_mmt_with_a_made_up_sft_comes_back_bit_for_bit(shared: Path, tmp_path: Path) -> None:
    mmt = shared / "models" / "mini-mmt"
    sft = write_task_sft(tmp_path / "sft", mmt, "ner")
    assert export(mmt, [sft], tmp_path / "out") == 0
    loaded = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path / "out")
    assert same_outputs(in_memory(mmt, [sft], "ner"), loaded, INPUTS)
    SparseFineTuning.load(sft).save_published(tmp_path / "published")
    published, ours = SparseFineTuning.load(tmp_path / "published"), SparseFineTuning.load(sft)
    assert all(torch.equal(published.sparse[name].values_K, diff.values_K) for name, diff in ours.sparse.items())


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the only line on stderr that is no note on a model's head."""
    lines = [line for line in capsys.readouterr().err.splitlines(keepends=True) if not line.startswith("note: ")]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def test_an_sft_made_for_another_base_is_refused_naming_both(
    student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sft = write_task_sft(tmp_path / "sft", student, "ner", base_model="other/model", base_hash="0" * 64)
    capsys.readouterr()  # drops the bar of loading the model here
    assert export(student, [sft], tmp_path / "out") == 2
    message = refusal(capsys)
    assert "other/model" in message
    assert str(student) in message
    assert not (tmp_path / "out").exists()


BAD: dict[str, tuple[list[str], list[str]]] = {
    "no model": (["--sft", "{ner}"], ["--model missing"]),
    "no such model": (["--model", "/no/where", "--sft", "{ner}"], ["/no/where", "no such folder"]),
    "no such SFT": (["--model", "{student}", "--sft", "/no/sft"], ["/no/sft", "neither a folder here nor a hub id"]),
    "no task": (["--model", "{student}"], ["--task missing"]),
    "another task": (["--model", "{student}", "--sft", "{ner}", "--task", "pos"], ["made for ner", "pos"]),
    "no head": (["--model", "{student}", "--task", "ner"], ["has no", "head for ner"]),
    "a licence in words": (["--model", "{student}", "--sft", "{ner}", "--licence", "do good"], ["--licence do good"]),
    "scores that are none": (["--model", "{student}", "--sft", "{ner}", "--scores", "{ner}/sft.json"], ["--scores"]),
    "a full folder": (["--model", "{student}", "--sft", "{ner}", "--output_dir", "{ner}"], ["is not empty"]),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_input_is_one_line_and_leaves_nothing(
    student: Path,
    ner: Path,
    tmp_path: Path,
    case: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    words, expected = BAD[case]
    given = [word.format(student=student, ner=ner) for word in words]
    output = [] if "--output_dir" in given else ["--output_dir", str(tmp_path / "out")]
    assert main([*given, *output]) == 2
    message = refusal(capsys)
    for part in expected:
        assert part in message
    assert not (tmp_path / "out").exists()


def test_without_the_onnx_packages_the_flag_is_refused_in_one_line(
    student: Path, ner: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == "onnxscript" else there(name))
    assert export(student, [ner], tmp_path / "out", "--onnx") == 2
    assert "onnxscript not installed; pip install 'bistil-ds[onnx]'" in refusal(capsys)


def test_an_export_that_is_interrupted_leaves_nothing(
    student: Path, ner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bistil_ds.export.folder.model_card", interrupt)
    assert export(student, [ner], tmp_path / "out") == 130
    assert not (tmp_path / "out").exists()


def test_without_flags_the_samples_student_is_exported(
    student: Path, ner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bistil_ds.commands.sample_runs.sample_student_and_sft", lambda task: (student, ner))
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert folder.parent.name == "runs"
    assert same_outputs(
        in_memory(student, [ner], "ner"), transformers.AutoModelForTokenClassification.from_pretrained(folder), INPUTS
    )


def test_bad_flags_are_refused_before_the_sample_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bistil_ds.commands.sample_runs.sample_student_and_sft", lambda task: pytest.fail("made"))
    assert main(["--licence", "do good"]) == 2
    assert "--licence do good" in refusal(capsys)


def test_the_script_runs_as_a_user_runs_it(student: Path, ner: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "launch_scripts" / "export.py"
    words = ["--model", str(student), "--sft", str(ner), "--output_dir", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'out'}\n")
