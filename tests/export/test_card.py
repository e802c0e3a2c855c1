"""Test that the model card says what the files say, and "unknown" where they say nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from export_folders import card_of, header, write_student, write_task_sft

from bistil_ds.commands.export import main
from bistil_ds.export.engines.check import EngineCheck
from bistil_ds.export.engines.report import DYNAMIC, FP32, EngineFile, EngineReport, Scored
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.student.folder import write_alignment


def test_the_header_is_yaml_the_hub_reads(student: Path, sft: Path) -> None:
    head = header(card_of(student, [sft], licence="cc-by-4.0"))
    assert head == {
        "language": ["en", "ha"],
        "license": "cc-by-4.0",
        "library_name": "transformers",
        "pipeline_tag": "token-classification",
        "base_model": "some/mmt",
        "tags": ["bistil", "sparse-fine-tuning", "ner"],
    }


def test_a_dense_fine_tuning_is_not_called_sparse(student: Path, tmp_path: Path) -> None:
    SparseFineTuning("dense", {}, {"w": torch.zeros(3, 4)}, {"task": "ner", "density": 1.0}).save(tmp_path / "dense")
    card = card_of(student, [tmp_path / "dense"])
    assert "Dense fine-tuning `dense`, merged into the weights: 12 values set. Task: ner." in card
    assert "LT-SFT" not in card
    assert header(card)["tags"] == ["bistil", "ner"]


def test_the_task_teacher_is_named(student: Path, sft: Path, tmp_path: Path) -> None:
    shutil.copytree(sft, tmp_path / "taught")
    record = json.loads((sft / "run.json").read_text())
    record["arguments"] |= {"teacher_model": "some/mmt", "teacher_sft": ["/home/me/en", "/home/me/ner"]}
    (tmp_path / "taught" / "run.json").write_text(json.dumps(record))
    said = "Distilled from the task teacher `some/mmt` + `en` + `ner` (BiStil, phase 2)."
    assert said in card_of(student, [tmp_path / "taught"])
    assert said not in card_of(student, [sft])


def test_a_student_without_a_record_of_phase_1_is_not_called_distilled(student: Path, tmp_path: Path) -> None:
    shutil.copytree(student, tmp_path / "student", ignore=shutil.ignore_patterns("run.json"))
    card = card_of(tmp_path / "student", [])
    assert "a student that BiStil (arXiv 2306.01709) built from `some/mmt`, from its layers 1, 3" in card
    assert "distilled" not in card


def test_norwegian_stays_a_language(student: Path, tmp_path: Path) -> None:
    sft = write_task_sft(tmp_path / "no", student, "ner", languages=["no"])
    assert header(card_of(student, [sft]))["language"] == ["en", "ha", "no"]


@pytest.mark.parametrize("languages", [["sw"], ["en", "ha", "sw"]])
def test_students_of_one_language_or_three_have_a_card(languages: list[str], student: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(student, tmp_path / "student")
    write_alignment(folder, teacher="some/mmt", languages=languages, layer_map=[1, 3])
    record = json.loads((folder / "run.json").read_text())
    record["arguments"] |= {"text": {code: f"/home/me/{code}.txt" for code in languages}, "language_temperature": 2.0}
    record["data"] = {code: {"file": f"/home/me/{code}.txt", "sha256": "ab" * 32} for code in languages}
    (folder / "run.json").write_text(json.dumps(record))
    card = card_of(folder, [write_task_sft(tmp_path / "sft", folder, "ner", languages=["en"])])
    assert header(card)["language"] == list(dict.fromkeys([*languages, "en"]))
    assert f"The student was made from text of {', '.join(languages)} only." in card
    assert "`language_temperature` 2.0" in card
    for code in languages:
        assert f"| `student` | {code}: {code}.txt | `{'ab' * 32}` |" in card
    unseen = [code for code in languages if code != "en"]
    assert f"No labelled text in {', '.join(unseen)} was used" in card


def test_the_family_of_the_teacher_and_what_was_left_out_are_named(student: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(student, tmp_path / "student")
    assert "family" not in card_of(folder, [])
    record = json.loads((folder / "run.json").read_text())
    for left_out, said in (([], "`gte`.\n"), (["the head of X"], "`gte`. Left out: the head of X.\n")):
        record["results"] = {"build": {"family": "gte", "left_out": left_out}}
        (folder / "run.json").write_text(json.dumps(record))
        assert f" The teacher's family: {said}" in card_of(folder, [])


def test_the_card_tells_method_data_and_arguments(student: Path, sft: Path) -> None:
    card = card_of(student, [sft])
    for said in (
        "distilled from `some/mmt`, from its layers 1, 3",
        "Of the teacher's 20,000 tokens it keeps",
        "`layer_reduction_factor` 2",
        "`max_steps` 1500",
        "density 0.1",
        "- Longest input in training, in tokens: 48",
        f"| `en-ha` | source: en.txt | `{'ab' * 32}` |",
        "| `en-ha` | target: x/ha | unknown |",
        f"| `ner-sft` | en: train.txt | `{'cd' * 32}` |",
        "No labelled text in ha was used",
        "| `fine-tuning ner-sft` | cc-by-4.0 |",
        "| `model some/mmt` | unknown |",
    ):
        assert said in card
    assert "/home/me" not in card  # cards are public
    assert str(student.parent) not in card
    assert "`student`" not in card  # the argument `student` was not given


def test_a_masked_language_model_has_no_labels(student: Path, tmp_path: Path) -> None:
    assert main(["--model", str(student), "--task", "mlm", "--output_dir", str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "- Labels: none\n" in card
    assert "LABEL_" not in card


def test_what_no_file_says_is_unknown(student: Path, sft: Path, tmp_path: Path) -> None:
    shutil.copytree(student, tmp_path / "model", ignore=shutil.ignore_patterns("run.json", "dist*", "kept*"))
    shutil.copytree(sft, tmp_path / "sft", ignore=shutil.ignore_patterns("run.json"))
    header_file = tmp_path / "sft" / "sft.json"
    content = json.loads(header_file.read_text())
    header_file.write_text(json.dumps({**content, "metadata": {}}))
    card = card_of(tmp_path / "model", [tmp_path / "sft"], max_length=None)
    assert header(card) == {
        "license": "unknown",
        "library_name": "transformers",
        "pipeline_tag": "token-classification",
        "tags": ["bistil", "sparse-fine-tuning", "ner"],
    }
    for said in (
        "- Languages: unknown",
        "- Longest input in training, in tokens: unknown",
        "How it was made: unknown",
        "density unknown",
        "Task: unknown. Languages: unknown.",
        "Training arguments: unknown.",
        "| `model` | unknown | unknown |",
        "## Scores\n\nUnknown",
        "## Licence\n\nUnknown.",
    ):
        assert said in card
    assert "None" not in card
    assert "BiStil (arXiv" not in card


def test_a_fine_tuning_may_not_say_its_languages(student: Path, sft: Path, tmp_path: Path) -> None:
    shutil.copytree(sft, tmp_path / "sft")
    header_file = tmp_path / "sft" / "sft.json"
    content = json.loads(header_file.read_text())
    del content["metadata"]["languages"]
    header_file.write_text(json.dumps(content))
    card = card_of(student, [tmp_path / "sft"])
    assert "Task: ner. Languages: unknown." in card
    assert "zero-shot" not in card


@pytest.mark.parametrize(
    "content", ["", "[]", '{"arguments": [1], "data": 3, "git": "x"}', '{"data": {"model": "/home/me"}}']
)
def test_another_programs_record_says_nothing(student: Path, tmp_path: Path, content: str) -> None:
    shutil.copytree(student, tmp_path / "model")
    (tmp_path / "model" / "run.json").write_text(content)
    card = card_of(tmp_path / "model", [])
    assert "Training arguments: unknown." in card
    assert "| `model` | unknown | unknown |" in card
    assert "/home/me" not in card


def test_a_model_from_the_hub_is_the_base_model(sft: Path) -> None:
    assert header(card_of("org/name", [sft]))["base_model"] == "org/name"


def test_a_teacher_in_a_local_folder_is_no_hub_id(tmp_path: Path) -> None:
    student = write_student(tmp_path / "student", teacher="/home/me/mmt")
    card = card_of(student, [])
    assert "base_model" not in header(card)
    assert "distilled from `mmt`" in card
    assert "sparse-fine-tuning" not in header(card)["tags"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("BertForSequenceClassification", "AutoModelForSequenceClassification.from_pretrained"),
        ("BertForDependencyParsing", "from bistil_ds.tasks.parsing.parser import BiaffineParser"),
    ],
)
def test_the_card_shows_how_to_load_the_model(student: Path, sft: Path, kind: str, said: str) -> None:
    card = card_of(student, [sft], kind=kind)
    assert said in card
    assert ("pipeline_tag" in header(card)) == ("Parsing" not in kind)


def test_files_for_other_engines_are_reported(student: Path, sft: Path) -> None:
    check = EngineCheck(absolute=2.5e-6, relative=1e-6, shapes=[(1, 3), (2, 8)])
    onnx = EngineFile("model.onnx", "ONNX Runtime", FP32, 9_000_000, check, {"en": {"f1": 0.871}}, loss=0.0)
    int8 = EngineFile("model_int8.onnx", "ONNX Runtime", DYNAMIC, 3_000_000, None, {"en": {"f1": 0.869}}, loss=0.2)
    report = EngineReport([onnx, int8], {"en": Scored(["dev.txt"], 1234, "f1")}, {"en": {"f1": 0.871}}, 8_900_000, 0)
    card = card_of(student, [sft], engines=report)
    assert "| file | engine | weights | MB | f1 en | loss |" in card
    assert "| model.safetensors | PyTorch | fp32 | 8.9 | 87.10 |  |" in card
    assert "| model_int8.onnx | ONNX Runtime | int8 dynamic | 3.0 | 86.90 | 0.20 |" in card
    assert (
        "On 2 random batches, fp32 outputs differ from PyTorch's by at most 2.5e-06 (1.0e-06 of the largest)." in card
    )
    assert "Scores in per cent on en (dev.txt; 1,234 examples); loss: the most points lost on any of them." in card


def test_the_code_in_the_card_runs(student: Path, sft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--model", str(student), "--sft", str(sft), "--output_dir", str(tmp_path / "ha-ner")]
    assert main(words) == 0
    card = (tmp_path / "ha-ner" / "README.md").read_text()
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(card.split("```python\n")[1].split("```")[0], found)
    assert type(found["model"]).__name__ == "XLMRobertaForTokenClassification"
    assert header(card)["base_model"] == "some/mmt"
    assert "- Longest input in training, in tokens: 48" in card
