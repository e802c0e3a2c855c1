"""Test that what each version wrote is still read as it was meant; `make.py` made the folders of artifacts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from bistil_ds import evaluate
from bistil_ds.benchmarking.report import gathering
from bistil_ds.distillation.from_flags import request_of
from bistil_ds.distillation.preparation import PreparedRun, prepare
from bistil_ds.distillation.run import train
from bistil_ds.distributed.run_on_ranks import run_on_ranks
from bistil_ds.errors import InputError
from bistil_ds.export.card_facts import base_facts, sft_facts
from bistil_ds.export.card_scores import read_scores
from bistil_ds.runs.record import RunRecord
from bistil_ds.student.folder import base_vocab_size, kept_ids_of, read_layer_map
from bistil_ds.student.origin import known_languages
from bistil_ds.tasks import find_task
from bistil_ds.tasks.models import load_task_model

OTHER_KEY = "another key, as long as a key must be\n"
HERE = Path(__file__).parent
VERSIONS = sorted(path.parent for path in HERE.glob("*/expected.json"))


@pytest.fixture(params=VERSIONS, ids=lambda folder: folder.name)
def expected(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Make a copy of a version's artifacts the current folder; return the values that they must give."""
    monkeypatch.setenv("BISTIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(shutil.copytree(request.param, tmp_path / "artifacts"))
    content: dict[str, Any] = json.loads(Path("expected.json").read_text())
    key = Path("seal.key")
    content["signed"] = key.is_file()  # 0.1 signed nothing
    if not content["signed"]:
        key.write_text(OTHER_KEY)
    key.chmod(0o600)
    monkeypatch.setenv("BISTIL_SEAL_KEY", str(key))
    return content


def check_logits(expected: dict[str, Any], kind: str, sfts: list[str], task: str) -> None:
    loaded = load_task_model("student", sfts, find_task(task))
    inputs = loaded.tokenizer([expected["text"]], return_tensors="pt")
    assert inputs["input_ids"][0].tolist() == expected["input_ids"]
    with torch.no_grad():
        logits_V = loaded.model(**inputs).logits[0, 1]
    torch.testing.assert_close(logits_V, torch.tensor(expected[kind]), rtol=0, atol=1e-5)


def test_versions_have_left_artifacts() -> None:
    assert {"0.1", "0.2"} <= {folder.name for folder in VERSIONS}


def test_a_student(expected: dict[str, Any]) -> None:
    check_logits(expected, "student", [], "mlm")
    tokenizer = AutoTokenizer.from_pretrained("student")
    kept_ids = kept_ids_of("student", base_vocab_size(Path("student")))
    assert kept_ids is not None
    assert len(kept_ids) == len(tokenizer)
    assert read_layer_map(Path("student")) == [1]
    assert known_languages("student") == ("aa", "bb")


def test_a_sparse_fine_tuning_of_the_student(expected: dict[str, Any]) -> None:
    """Applying it checks the recorded hash of its base."""
    check_logits(expected, "exported", ["student-sft"], "ner")


def test_the_records_of_runs(expected: dict[str, Any]) -> None:
    student, sft = base_facts("student"), sft_facts("student-sft")
    assert student.teacher == "teacher"
    assert student.languages == ("aa", "bb")
    assert student.run.arguments["max_steps"] == 40
    assert set(student.licences) in ({"model teacher"}, {"model teacher", "data aa: aa.txt", "data bb: bb.txt"})
    assert [name for name, _ in student.run.data or ()] == ["source: aa.txt", "target: bb.txt"]
    assert (sft.metadata["task"], sft.metadata["languages"], sft.sparse) == ("ner", ["aa"], True)
    assert [name for name, _ in sft.run.data or ()] == ["aa: ner-train.txt", "aa: ner-dev.txt"]
    for folder in ("student", "teacher-sft", "student-sft", "evaluation"):
        assert RunRecord.open(folder).content["finished"]


def test_the_result_of_an_evaluation(expected: dict[str, Any]) -> None:
    """It is shown by the report, its scores go onto a card, and evaluating again gives them once more."""
    file = Path("evaluation", "evaluation.json")
    recorded = json.loads(file.read_text())["models"]
    found = gathering.read(file)
    assert found is not None
    assert found.entry.tables(found.content)
    models = {"teacher": ["teacher", "teacher-sft"], "student": ["student", "student-sft"]}
    again = evaluate(models, {"aa": "ner-test.txt"}, "ner", resamples=50)
    for name in models:
        scores = {each.metric: each for each in read_scores(str(file), recorded[name]["weights_sha256"])}
        assert sorted(scores) == ["f1", "precision", "recall"]
        for metric, score in scores.items():
            now = again.score(metric, name, "aa")
            assert now is not None
            assert (now.value, now.low, now.high) == pytest.approx((score.value, score.low, score.high))
    assert 0 < scores["f1"].value < 1


def test_the_record_of_a_benchmark(expected: dict[str, Any]) -> None:
    (file,) = Path("benchmarks").glob("*.json")
    found = gathering.read(file)
    assert found is not None
    assert found.benchmark == "flops"
    assert found.entry.tables(found.content)


def resume(flags: dict[str, Any], **more: Any) -> PreparedRun:
    """Go on with the interrupted run, whose teacher is at another path here."""
    request = request_of(**flags, output_dir="interrupted", resume_from_checkpoint="true", **more)
    return run_on_ranks(lambda: prepare(request, teacher_may_move=True), train, use_deepspeed=False)


def test_a_run_that_was_interrupted(expected: dict[str, Any]) -> None:
    """From its checkpoint at step 20 of 40, the student becomes the one of the run that was never stopped."""
    run = resume(expected["general"], trust_checkpoint=not expected["signed"])
    assert run.checkpoint == str(Path("interrupted", "checkpoint-20"))
    resumed, whole = load_file("interrupted/model.safetensors"), load_file("student/model.safetensors")
    assert resumed.keys() == whole.keys()
    for name, tensor in whole.items():
        # softmax does not see a key's bias: its gradient is rounding, which each CPU does its way and AdamW enlarges
        atol = 1e-3 if name.endswith("key.bias") else 1e-6
        torch.testing.assert_close(resumed[name], tensor, rtol=1e-5, atol=atol, msg=name)
    assert RunRecord.open("interrupted").content["results"]["steps"] == 40


def test_what_the_key_did_not_sign_is_not_trusted(expected: dict[str, Any]) -> None:
    Path("seal.key").write_text(OTHER_KEY)
    with pytest.raises(InputError, match="--trust_checkpoint"):
        resume(expected["general"])
    assert not Path("interrupted", "model.safetensors").exists()
