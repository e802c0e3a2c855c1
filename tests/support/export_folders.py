"""Write a made-up student and made-up sparse fine-tunings (SFTs) for tasks, as phases 1 and 2 leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tiny
from random_sfts import random_sft
from transformers import AutoTokenizer

from bistil_ds.models.weight_files import hash_weights
from bistil_ds.runs.record import RunRecord
from bistil_ds.student.folder import KEPT_IDS, write_alignment
from bistil_ds.tasks import find_task

LABELS = {
    "ner": ["O", "B-PER", "I-PER"],
    "pos": ["NOUN", "VERB"],
    "dp": ["det", "obj", "root"],
    "nli": ["entailment", "neutral"],
    "qa": ["start", "end"],
    "mlm": [],
}


def write_student(folder: Path, teacher: str = "some/mmt") -> Path:
    """Write a tiny student with tokenizer, alignment, kept ids and `run.json`; return `folder`."""
    tiny.write_teacher(folder, layers=2, width=16)
    size = len(AutoTokenizer.from_pretrained(folder))
    write_alignment(folder, teacher=teacher, languages=["en", "ha"], layer_map=[1, 3])
    (folder / KEPT_IDS).write_text(json.dumps({"base_vocab_size": 20000, "kept_ids": list(range(size))}))
    data = {"source": {"file": "/home/me/text/en.txt", "sha256": "ab" * 32}, "target": {"file": "x/ha", "sha256": None}}
    arguments = {"teacher_model": teacher, "max_steps": 1500, "layer_reduction_factor": 2, "seed": 42, "student": None}
    RunRecord(folder, arguments=arguments, data=data).finish()
    return folder


def write_task_sft(folder: Path, student: Path, task: str, seed: int = 0, **metadata: Any) -> Path:
    """Write a random SFT of the student on a task, with a head and `run.json`; return `folder`."""
    model = find_task(task).load_model(student, LABELS[task])
    known = {
        "base_model": str(student),
        "base_hash": hash_weights(student),
        "task": task,
        "labels": LABELS[task],
        "languages": ["en"],
        "density": 0.1,
        "max_length": 48,
    }
    sft = random_sft(model, seed, **{**known, **metadata})
    if task == "mlm":
        sft.dense.clear()  # a language SFT does not change the language model's head
    sft.save(folder)
    RunRecord(folder, arguments={"task": task, "density": 0.1}, data={"en=/data/en/train.txt": "cd" * 32}).finish()
    return folder
