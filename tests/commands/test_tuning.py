"""Test teacher.py and task.py as a user runs them, on a tiny model and made-up entities."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from launch import run_script
from tiny import write_entities, write_teacher
from transformers import AutoConfig, AutoModelForMaskedLM

from bistil_ds.commands import task, teacher
from bistil_ds.errors import InputError
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sparse import maskable_count
from bistil_ds.tasks import find_task
from bistil_ds.tasks.models import load_task_model
from bistil_ds.tasks.sources import parse_sources
from bistil_ds.training.speed import encoder_flops
from bistil_ds.tuning.data import languages_of
from bistil_ds.tuning.trainer import TaskTrainer

QUICK = [
    *["--per_device_train_batch_size", "4", "--learning_rate", "1e-3", "--report_to", "none", "--disable_tqdm", "true"],
    *["--full_max_steps", "4", "--sparse_max_steps", "4", "--eval_strategy", "steps", "--eval_steps", "2"],
    *["--save_strategy", "steps", "--save_steps", "2", "--max_length", "64"],
]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write `mmt`, `train.txt`, `dev.txt`, a tuned `teacher`, and a `student` of two layers."""
    folder = tmp_path_factory.mktemp("material")
    mmt = write_teacher(folder / "mmt")
    train, dev = write_entities(folder / "train.txt", 60, 1), write_entities(folder / "dev.txt", 12, 2)
    files = ["--train_file", f"aa={train}", "--dev_file", f"aa={dev}", "--task", "ner"]
    done = teacher.main(["--model", str(mmt), *files, *QUICK, "--output_dir", str(folder / "teacher")])
    assert done == 0
    write_teacher(folder / "student", layers=2, seed=3)
    return folder


def flags(material: Path, output_dir: Path, **changes: str) -> list[str]:
    """Return the flags of a complete task.py command."""
    values = {
        "student": str(material / "student"),
        "teacher_model": str(material / "mmt"),
        "teacher_sft": str(material / "teacher"),
        "train_file": f"aa={material / 'train.txt'}",
        "dev_file": f"aa={material / 'dev.txt'}",
        "task": "ner",
        "output_dir": str(output_dir),
    }
    words = [word for name, value in {**values, **changes}.items() for word in (f"--{name}", value)]
    return [*QUICK, *words]


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return found


def test_a_teacher_is_an_sft_that_says_what_it_is_for(material: Path) -> None:
    sft = SparseFineTuning.load(material / "teacher")
    assert sft.metadata["task"] == "ner"
    assert sft.metadata["labels"] == ["O", "B-PER", "I-PER"]
    assert sft.metadata["languages"] == ["aa"]
    assert sft.metadata["licences"] == {"model mmt": "unknown", "data aa: train.txt": "unknown"}
    assert Path(sft.metadata["base_model"]) == material / "mmt"
    model = AutoModelForMaskedLM.from_pretrained(material / "mmt")
    moved = sum(len(diff.indices_K) for diff in sft.sparse.values())
    assert moved == round(0.08 * maskable_count(model))
    assert set(sft.dense) == {"classifier.weight", "classifier.bias"}


def test_the_record_holds_each_stage_and_the_data(material: Path) -> None:
    content = record(material / "teacher")
    assert [stage["stage"] for stage in content["results"]["stages"]] == ["stage-1-full", "stage-2-sparse"]
    assert "eval_aa_f1" in content["results"]["stages"][1]["metrics"]
    for stage in content["results"]["stages"]:
        assert stage["flops"] > 3 * encoder_flops(AutoConfig.from_pretrained(material / "mmt"), 1, 4) * stage["tokens"]
        assert stage["tokens"] > 0
    assert content["finished"]
    assert content["results"]["kernels"] == {"choice": "auto", "device": "cpu", "checked": None, "failed": {}}
    assert content["data"][f"aa={material / 'train.txt'}"]


def test_folders_that_are_no_language_codes_are_no_languages() -> None:
    words = ["ud/UD_English-EWT/train.conllu", "ner/train.txt", "ha/train.txt", "pt-br=x.txt"]
    assert languages_of(tuple(parse_sources(words, "--train_file"))) == ["ha", "pt-br"]


def test_phase_2_leaves_an_sft_for_the_student(material: Path, tmp_path: Path) -> None:
    licences = {"teacher_licence": "mit", "data_licence": "aa=cc-by-nc-4.0"}
    assert task.main(flags(material, tmp_path / "sft", **licences, kernels="torch")) == 0
    assert record(tmp_path / "sft")["results"]["kernels"]["choice"] == "torch"
    parts = {"model student": "unknown", "model mmt": "mit", "data aa: train.txt": "cc-by-nc-4.0"}
    assert SparseFineTuning.load(tmp_path / "sft").metadata["licences"] == parts
    loaded = load_task_model(str(material / "student"), [str(tmp_path / "sft")])
    assert loaded.task.name == "ner"
    assert loaded.labels == ("O", "B-PER", "I-PER")
    tuned = load_task_model(str(material / "mmt"), [str(material / "teacher")])
    start = tuned.model.classifier.weight
    assert not torch.equal(loaded.model.classifier.weight, start)
    # the student's head started as a copy of the teacher's
    assert (loaded.model.classifier.weight - start).abs().max() < 0.1


class Killed(Exception):
    pass


def test_a_run_killed_in_the_sparse_stage_resumes_to_the_same_bits(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert task.main(flags(material, tmp_path / "whole")) == 0

    def kill(trainer: TaskTrainer) -> None:
        if trainer.deltas is not None:  # only the sparse stage has deltas, and it has just saved its first checkpoint
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(TaskTrainer, "on_saved", kill)
        with pytest.raises(Killed):
            task.main(flags(material, tmp_path / "cut"))
    assert [path.name for path in (tmp_path / "cut").glob("*/checkpoint-*")] == ["checkpoint-2"]
    assert not (tmp_path / "cut" / "sft.safetensors").exists()
    again = [*flags(material, tmp_path / "cut"), "--resume_from_checkpoint", "true"]
    assert task.main([*again, "--gradient_accumulation_steps", "2"]) == 2
    assert "8 rows in a step, but 4 in" in capsys.readouterr().err
    assert task.main(again) == 0
    one, other = (SparseFineTuning.load(tmp_path / name) for name in ("whole", "cut"))
    for name, diff in one.sparse.items():
        assert torch.equal(diff.indices_K, other.sparse[name].indices_K)
        assert torch.equal(diff.values_K, other.sparse[name].values_K)
    for name, tensor in one.dense.items():
        assert torch.equal(tensor, other.dense[name])


def test_a_student_or_built_models_that_changed_since_a_run_began_are_refused_when_it_resumes(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def kill(trainer: TaskTrainer) -> None:
        raise Killed

    student = shutil.copytree(material / "student", tmp_path / "student")
    given = flags(material, tmp_path / "cut", student=str(student))
    with monkeypatch.context() as patched:
        patched.setattr(TaskTrainer, "on_saved", kill)
        with pytest.raises(Killed):
            task.main(given)
    weights = tmp_path / "cut" / "build" / "teacher" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert task.main([*given, "--resume_from_checkpoint", "true"]) == 2
    assert f"{weights}: not the bytes that were written; the run cannot be resumed" in capsys.readouterr().err
    weights.write_bytes(content)
    write_teacher(student, layers=2, seed=4)
    assert task.main([*given, "--resume_from_checkpoint", "true"]) == 2
    assert f"--student {student}: other weights than" in capsys.readouterr().err


def test_validation_before_training_is_of_no_checkpoint(material: Path, tmp_path: Path) -> None:
    # at this learning rate no step improves on the validation before training
    given = flags(material, tmp_path / "sft", eval_on_start="true", learning_rate="1e-9")
    assert task.main(given) == 0
    assert record(tmp_path / "sft")["results"]["stages"][-1]["kept_step"] == 2


@pytest.mark.slow
def test_two_ranks_at_zero_3_choose_as_many_and_mostly_the_same_entries_as_one(material: Path, tmp_path: Path) -> None:
    more = {"deepspeed": "zero3", "per_device_train_batch_size": "2"}
    done = run_script("task", *flags(material, tmp_path / "two", **more), ranks=2, cache=tmp_path, launcher=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert task.main(flags(material, tmp_path / "one")) == 0
    one, two = (SparseFineTuning.load(tmp_path / name) for name in ("one", "two"))
    chosen = {(name, i) for name, diff in one.sparse.items() for i in diff.indices_K.tolist()}
    also = {(name, i) for name, diff in two.sparse.items() for i in diff.indices_K.tolist()}
    assert len(chosen) == len(also)
    assert len(chosen & also) > 0.7 * len(chosen)  # not all: each rank takes the mean over its own tokens
    assert set(one.dense) == set(two.dense)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"task": "nerr"}, "--task nerr: no such task"),
        ({"density": "0"}, "density"),
        ({"density": "1.5"}, "density"),
        ({"k": "100000000"}, "100000000"),
        ({"teacher_sft": "nowhere"}, "nowhere"),
        ({"student": "nowhere"}, "--student nowhere"),
        ({"max_steps": "5"}, "--full_max_steps and --sparse_max_steps"),
        ({"max_length": "65"}, "--max_length 65"),
        ({"label_map": "PER"}, "--label_map PER"),
        ({"max_length": "2"}, "--max_length 2: leaves no room"),
        ({"save_strategy": "epoch"}, "the flags do not go together"),
        ({"save_steps": "0"}, "--save_steps 0"),
        ({"metric_for_best_model": "eval_loss"}, "--metric_for_best_model eval_loss: has no effect"),
        ({"label_smoothing_factor": "0.1"}, "--label_smoothing_factor 0.1: has no effect"),
        ({"logit_weight": "-1"}, "logit_weight"),
        ({"logit_weight": "0"}, "the head learns from nothing else"),
        ({"train_file": "aa=nowhere.txt"}, "nowhere.txt"),
    ],
)
def test_bad_input_is_one_line_before_training(
    material: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str], expected: str
) -> None:
    assert task.main(flags(material, tmp_path / "none", **changes)) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert len([line for line in error.splitlines() if line.startswith("error:")]) == 1
    assert not (tmp_path / "none").exists() or not list((tmp_path / "none").iterdir())


def test_a_teacher_may_be_a_finished_model_of_the_task(material: Path, tmp_path: Path) -> None:
    whole = load_task_model(str(material / "mmt"), [str(material / "teacher")])
    whole.model.save_pretrained(tmp_path / "whole")
    whole.tokenizer.save_pretrained(tmp_path / "whole")
    words = flags(material, tmp_path / "out", teacher_model=str(tmp_path / "whole"))
    place = words.index("--teacher_sft")
    assert task.main(words[:place] + words[place + 2 :]) == 0
    assert SparseFineTuning.load(tmp_path / "out").metadata["labels"] == ["O", "B-PER", "I-PER"]


def test_a_label_the_teacher_never_saw_is_named_with_its_line(
    material: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_entities(tmp_path / "dev.txt", 5, 3, tag="LOC")
    assert task.main(flags(material, tmp_path / "none", dev_file=f"aa={other}")) == 2
    error = capsys.readouterr().err
    assert "B-LOC" in error
    assert "dev.txt, line" in error
    assert not (tmp_path / "none").exists()
    assert task.main(flags(material, tmp_path / "some", dev_file=f"aa={other}", label_map="LOC=PER")) == 0


def test_a_teacher_sft_for_another_model_is_refused_by_both_names(
    material: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_teacher(tmp_path / "other", seed=9)
    assert task.main(flags(material, tmp_path / "none", teacher_model=str(other))) == 2
    error = capsys.readouterr().err
    assert str(material / "mmt") in error
    assert str(other) in error


def test_an_sft_of_another_task_is_refused(material: Path) -> None:
    with pytest.raises(InputError, match="was made for ner"):
        load_task_model(str(material / "mmt"), [str(material / "teacher")], find_task("pos"))


def test_text_without_labels_is_trained_on_and_named(material: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("".join(f"{words}\n" for words in ("ka lo mi", "mi ka", "lo lo ka mi") * 40))
    asked = flags(material, tmp_path / "run", unlabelled_file=f"tr={plain}", dense="true")
    length = asked.index("--full_max_steps")
    del asked[length : length + 2]  # a dense run has no full stage
    assert task.main([*asked, "--seed", "3"]) == 0
    assert SparseFineTuning.load(tmp_path / "run").metadata["languages_without_labels"] == ["tr"]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["data"].keys() >= {f"tr={plain}"}
