"""Folders for the tests of phase 2 on each model family: a task teacher, and a student on a trimmed vocabulary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from student_models import tiny_teacher
from tiny import unigram_tokenizer
from transformers import AutoModel, AutoModelForMaskedLM

from bistil_ds.models.tokenizer_folder import save_tokenizer
from bistil_ds.student import build_student
from bistil_ds.student.files import StudentFiles
from bistil_ds.student.origin import Origin
from bistil_ds.tasks import find_task
from bistil_ds.vocabulary import trim_model, trim_tokenizer
from bistil_ds.vocabulary.embeddings import Trimming

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
