"""Write a made-up student and sparse fine-tunings (SFTs) of it, as both phases leave them, and export them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tiny
import torch
from huggingface_hub import ModelCard
from random_sfts import random_sft
from transformers import AutoTokenizer

from bistil_ds.commands.export import main
from bistil_ds.export.card import model_card
from bistil_ds.export.card_facts import CardFacts, base_facts, sft_facts
from bistil_ds.export.engines.check import random_batch
from bistil_ds.models.weight_files import hash_weights
from bistil_ds.runs.record import RunRecord
from bistil_ds.sft.fine_tuning import SparseFineTuning
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
CLASSES = {
    "ner": "AutoModelForTokenClassification",
    "pos": "AutoModelForTokenClassification",
    "nli": "AutoModelForSequenceClassification",
    "qa": "AutoModelForQuestionAnswering",
    "mlm": "AutoModelForMaskedLM",
}
INPUTS = ["input_ids", "attention_mask"]


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


def card_of(student: Path | str, sfts: list[Path], **changed: Any) -> str:
    """Return the card of a tagger: the student with these SFTs; `changed` are facts (`CardFacts`) to replace."""
    known: dict[str, Any] = {
        "title": "ha-ner",
        "kind": "XLMRobertaForTokenClassification",
        "task": "ner",
        "labels": LABELS["ner"],
        "max_length": 48,
        "parameters": 12345,
        "base": base_facts(str(student)),
        "sfts": [sft_facts(str(sft)) for sft in sfts],
        "licence": None,
        "scores": None,
        "engines": None,
    }
    return str(model_card(CardFacts(**{**known, **changed})))


def header(card: str) -> dict[str, Any]:
    """Return the metadata as the hub's library reads it."""
    content: dict[str, Any] = ModelCard(card).data.to_dict()
    return content


def export(student: Path, sfts: list[Path], folder: Path, *flags: str) -> int:
    """Run the export command on the student with these SFTs; return its exit code."""
    return main(["--model", str(student), "--sft", *map(str, sfts), "--output_dir", str(folder), *flags])


def in_memory(student: Path, sfts: list[Path], task: str) -> Any:
    """Return what an export must equal: the student for `task`, with these SFTs applied."""
    model = find_task(task).load_model(student, LABELS[task]).eval()
    for sft in sfts:
        SparseFineTuning.load(sft).apply(model)
    return model


def same_outputs(one: Any, other: Any, inputs: list[str]) -> bool:
    """Return whether two models give the same outputs, to the bit, on a random batch of these inputs."""
    batch = random_batch(one, inputs, rows=3, length=11, seed=0)
    with torch.no_grad():
        first, second = one(**batch), other.eval()(**batch)
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)
