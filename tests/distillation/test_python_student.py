"""Test that a student trained in memory leaves the folder that the command leaves, and that phase 2 accepts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from bistil_ds.distillation.arguments import DistillationArguments
from bistil_ds.distillation.from_flags import request_of
from bistil_ds.distillation.preparation import prepare
from bistil_ds.distillation.run import load_student
from bistil_ds.distillation.trainer import DistillationTrainer
from bistil_ds.errors import InputError
from bistil_ds.student import build_student
from bistil_ds.student.folder import read_layer_map
from bistil_ds.student.origin import read_origin
from bistil_ds.tasks import find_task
from bistil_ds.tasks.models import load_task_model
from bistil_ds.text import load_texts, pack, split_validation
from bistil_ds.tuning.building import prepare_student
from bistil_ds.vocabulary import load_kept_ids, trim_model, trim_vocabulary
from bistil_ds.vocabulary.embeddings import trimming_of

LABELS = ("O", "B-PER")


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    tiny.write_texts(folder, 150)
    tiny.write_teacher(folder / "teacher", layers=2)
    return folder


@pytest.fixture(autouse=True)
def cache(material: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BISTIL_CACHE", str(material / "cache"))


def in_memory(material: Path, folder: Path, factor: int = 1, **flags: Any) -> DistillationTrainer:
    """Return a trainer made as docs/python.md makes it."""
    teacher = AutoModelForMaskedLM.from_pretrained(material / "teacher")
    tokenizer = AutoTokenizer.from_pretrained(material / "teacher")
    texts = {language: load_texts(str(material / f"{language}.txt")) for language in tiny.SYLLABLES}
    trimmed = trim_vocabulary(teacher, tokenizer, texts, vocab_size=120, progress=False)
    parts = {one: split_validation(pack(text, trimmed.tokenizer, 32, progress=False)) for one, text in texts.items()}
    sample = [{"input_ids": torch.tensor(train[:16]["input_ids"])} for train, _ in parts.values()]
    built = build_student(
        trimmed.model, hidden_reduction_factor=factor, sample_batches=sample if factor > 1 else None, progress=False
    )
    settings: dict[str, Any] = {"max_steps": 1, "report_to": "none", "disable_tqdm": True, "save_strategy": "no"}
    settings |= {"eval_strategy": "no", "load_best_model_at_end": False, "eval_on_start": False}
    return DistillationTrainer(
        built.student,
        trimmed.model,
        DistillationArguments(output_dir=str(folder), **{**settings, **flags}),
        layer_map=built.layer_map,
        processing_class=trimmed.tokenizer,
        projections=built.projections,
        train_dataset={language: train for language, (train, _) in parts.items()},
        eval_dataset={language: validation for language, (_, validation) in parts.items()},
    )


def from_flags(material: Path, folder: Path, factor: int = 1) -> Path:
    """Prepare a run as the command does; return the folder of its student."""
    files = {"source_file": material / "aa.txt", "target_file": material / "bb.txt"}
    flags: dict[str, Any] = {"source_language": "aa", "target_language": "bb", "max_length": 32, "vocab_size": 120}
    flags |= {"output_dir": str(folder), "hidden_reduction_factor": factor, "report_to": "none"}
    return prepare(request_of(teacher_model=material / "teacher", **files, **flags)).folder / "build" / "student"


@pytest.mark.parametrize("factor", [1, 2], ids=["as wide as the teacher", "narrower"])
def test_the_folder_is_that_of_the_command_and_phase_2_accepts_it(factor: int, material: Path, tmp_path: Path) -> None:
    in_memory(material, tmp_path / "python", factor).save_model()
    ours, theirs = tmp_path / "python", from_flags(material, tmp_path / "command", factor)
    assert {path.name for path in ours.iterdir()} == {path.name for path in theirs.iterdir()}
    load_student(ours)
    assert (load_kept_ids(ours) == load_kept_ids(theirs)).all()
    assert read_layer_map(ours) == read_layer_map(theirs)
    made, stated = read_origin(ours), read_origin(theirs)
    assert made is not None
    assert stated is not None
    assert made.licences["model teacher"] == stated.licences["model teacher"]
    teacher = load_task_model(str(material / "teacher"), (), find_task("ner"), LABELS)
    prepare_student(tmp_path / "build", str(ours), teacher, seed=0, new_head=True)
    assert read_layer_map(tmp_path / "build" / "base") == read_layer_map(ours)


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer.json", "kept_ids.json", "distillation.json"])
def test_a_folder_that_lacks_a_part_is_no_product(missing: str, material: Path, tmp_path: Path) -> None:
    student = from_flags(material, tmp_path / "command")
    (student / missing).unlink()
    with pytest.raises(InputError):
        load_student(student)


def test_a_model_that_is_trimmed_twice_remembers_its_first_vocabulary() -> None:
    model = tiny.xlmr(200, layers=1, width=8)
    first = [0, 1, *range(2, 200, 2)]
    trim_model(model, np.array(first))
    trim_model(model, np.arange(50))
    found = trimming_of(model)
    assert found is not None
    assert (found.kept_ids.tolist(), found.base_vocab_size) == (first[:50], 200)
    assert trimming_of(tiny.xlmr(20, layers=1, width=8)) is None


def test_epochs_set_the_steps_in_memory_too(material: Path, tmp_path: Path) -> None:
    trainer = in_memory(material, tmp_path / "run", max_steps=-1, num_train_epochs=2, per_device_train_batch_size=4)
    longest = max(map(len, trainer.train_dataset.values()))
    assert trainer.args.max_steps == -(-2 * 2 * longest // 4)
    assert len(trainer.get_train_dataloader()) == trainer.args.max_steps
