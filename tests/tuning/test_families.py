"""Test phase 2 and the export of its result on each kind of model that is new in it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from student_models import tiny_teacher
from tiny import unigram_tokenizer, write_entities
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForTokenClassification

from bistil_ds import SparseFineTuning, distil_task, export_model
from bistil_ds.errors import InputError
from bistil_ds.models.families import FAMILIES
from bistil_ds.models.tokenizer_folder import save_tokenizer
from bistil_ds.student import build_student
from bistil_ds.student.files import StudentFiles
from bistil_ds.student.origin import Origin
from bistil_ds.tasks import find_task
from bistil_ds.tasks.models import load_task_model
from bistil_ds.vocabulary import trim_model, trim_tokenizer
from bistil_ds.vocabulary.embeddings import Trimming

QUIET = {"report_to": ["none"], "disable_tqdm": True, "logging_strategy": "no"}
LABELS = ("B-PER", "O")
K = 200
LAYERS, SPARED = 4, 30  # layers of the teacher; tokens that the student lacks


def write_material(folder: Path, kind: str, task: str, labels: tuple[str, ...], *, headless: bool = False) -> None:
    """Write `folder/teacher`, tuned for the task, and `folder/student`, with every second layer and fewer tokens.

    `headless` gives a student of a model without a masked-LM head.
    """
    tokenizer = unigram_tokenizer()
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 66, "pad_token_id": 1}
    auto = AutoModel if headless else AutoModelForMaskedLM
    teacher = tiny_teacher(kind, LAYERS, auto=auto, **sizes)
    if headless and getattr(teacher, "pooler", None) is not None:
        teacher.pooler = None
    teacher.save_pretrained(folder / "mmt")
    model = find_task(task).load_model(folder / "mmt", labels)
    model.save_pretrained(folder / "teacher")
    save_tokenizer(tokenizer, folder / "teacher")
    kept_ids = np.delete(np.arange(len(tokenizer)), np.arange(len(tokenizer) - 1 - SPARED, len(tokenizer) - 1))
    trim_model(teacher, kept_ids)
    built = build_student(teacher)
    built.student.save_pretrained(folder / "student")
    save_tokenizer(trim_tokenizer(tokenizer, kept_ids), folder / "student")
    trimming = Trimming(kept_ids, len(tokenizer))
    StudentFiles("mmt", ["aa", "bb"], built.layer_map, trimming, None, Origin({}, [])).write(folder / "student")


def tune(folder: Path, **flags: object) -> Path:
    """Run phase 2 on what `write_material` wrote; two steps in each stage."""
    files = {
        "train_file": [f"aa={write_entities(folder / 'train.iob2', 16, seed=0)}"],
        "dev_file": [f"aa={write_entities(folder / 'dev.iob2', 4, seed=1)}"],
    }
    models = {"student": str(folder / "student"), "teacher_model": str(folder / "teacher")}
    lengths = {"full_max_steps": 2, "sparse_max_steps": 2, "max_length": 48, "k": K}
    lengths |= {"per_device_train_batch_size": 8, "learning_rate": 1e-3}
    output = {"output_dir": str(folder / "sft"), **QUIET}
    return distil_task(task="ner", **files, **models, **lengths, **output, **flags)


@pytest.mark.parametrize(
    ("kind", "headless"),
    [("modernbert", False), ("eurobert", False), ("gte", False), ("deberta-v2", False), ("bert", True)],
)
def test_a_student_of_the_family_learns_a_task_and_is_exported(kind: str, headless: bool, tmp_path: Path) -> None:
    write_material(tmp_path, kind, "ner", LABELS, headless=headless)
    attention = {} if FAMILIES[kind].maps_observable else {"attention_weight": "0"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sft = SparseFineTuning.load(tune(tmp_path, **attention))
        tuned = load_task_model(str(tmp_path / "student"), [str(tmp_path / "sft")])
        plain_folder = export_model(tmp_path / "student", [tmp_path / "sft"], output_dir=tmp_path / "plain")
    assert sum(len(diff.indices_K) for diff in sft.sparse.values()) == K
    assert not any("norm" in name.lower() for name in sft.sparse)
    heads = {name for name, _ in tuned.model.named_parameters() if not name.startswith(tuned.model.base_model_prefix)}
    assert set(sft.dense) == heads
    assert tuned.labels == LABELS
    assert tuned.model.config.num_hidden_layers == 2
    plain = AutoModelForTokenClassification.from_pretrained(plain_folder)
    assert plain.config.id2label == dict(enumerate(LABELS))
    batch = {"input_ids": torch.tensor([[0, 5, 6, 7, 2], [0, 9, 2, 1, 1]])}
    batch["attention_mask"] = (batch["input_ids"] != 1).long()
    with torch.no_grad():
        assert torch.equal(plain(**batch).logits, tuned.model(**batch).logits)
    assert "ner" in (plain_folder / "README.md").read_text()


@pytest.mark.parametrize(("task", "kind", "headless"), [("qa", "gte", False), ("mlm", "bert", True)])
def test_a_task_that_the_model_cannot_learn_is_refused_before_anything_is_written(
    task: str, kind: str, headless: bool, tmp_path: Path
) -> None:
    write_material(tmp_path, kind, "ner", LABELS, headless=headless)
    text = tmp_path / "text"
    text.write_text("ba ke lo\n" * 20)
    models = {"student": str(tmp_path / "student"), "teacher_model": str(tmp_path / "teacher")}
    files = {"train_file": [f"aa={text}"], "dev_file": [f"aa={text}"]}
    with pytest.raises(InputError, match=f"^--student {tmp_path / 'student'}: "):
        distil_task(task=task, **models, **files, output_dir=str(tmp_path / "sft"), **QUIET)
    assert not (tmp_path / "sft").exists()
