"""Rank 0's part of phase 1 before training: read the text, trim the teacher, build the student, save both.

This happens before a ZeRO-3 configuration object exists: with one, every model that is loaded is partitioned, and
copies read empty tensors. Every rank then loads the folder written here.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from rich.console import Console
from transformers import AutoModelForMaskedLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds import text
from bistil_ds.distillation import checks
from bistil_ds.distributed import startup
from bistil_ds.errors import InputError, blaming
from bistil_ds.models.inputs import cannot_load
from bistil_ds.models.loading import load_pretrained
from bistil_ds.runs.folder import whole_or_nothing
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.student import build_student, check_student, load_projections, save_projections
from bistil_ds.student.folder import kept_ids_of, read_layer_map, write_alignment
from bistil_ds.vocabulary import save_kept_ids, trim_model, trim_tokenizer, trim_vocabulary

STUDENT, TEACHER = "student", "teacher"
SAMPLED_CHUNKS = 16  # chunks of each language; projections are fitted on the teacher's states of them


@dataclass
class Chunks:
    """Training and validation chunks of one language."""

    train: Dataset
    validation: Dataset


def read_chunks(ns: argparse.Namespace, tokenizer: PreTrainedTokenizerBase, progress: bool) -> dict[str, Chunks]:
    """Return the chunks of both languages, by language code.

    Chunks are cached by content, so the ranks that come after rank 0 do not tokenise again.
    """
    found = {}
    for side in ("source", "target"):
        language = getattr(ns, f"{side}_language")
        texts = read_texts(ns, side)
        chunks = text.pack(texts, tokenizer, ns.max_length, num_proc=ns.preprocessing_workers, progress=progress)
        found[language] = Chunks(*text.split_validation(chunks, name=f"--{side}_file"))
    return found


def read_texts(ns: argparse.Namespace, side: str) -> Dataset:
    """Return the texts of one language as a data set with the column `text`."""
    return text.load_texts(getattr(ns, f"{side}_file"), text_column=ns.text_column, name=f"--{side}_file")


def load_model(name: str, flag: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return a masked language model in fp32 and its tokenizer.

    Raises:
        InputError: either cannot be loaded, weights are missing, or the tokenizer has more tokens than the embeddings.
    """
    try:
        model, absent = load_pretrained(
            AutoModelForMaskedLM, name, flag=flag, dtype=torch.float32, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except InputError:
        raise
    except Exception as error:  # transformers, safetensors, pickle and the hub have no common error class
        raise cannot_load(flag, name, error) from None
    if absent:
        raise InputError(f"{flag} {name}: lacks weights of a masked language model, such as {min(absent)}")
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):  # transformers makes one up where there is no file
        raise InputError(f"{flag} {name}: holds no tokenizer; add its tokenizer.json")
    if len(tokenizer) > model.config.vocab_size:
        size = model.config.vocab_size
        raise InputError(f"{flag} {name}: its tokenizer has {len(tokenizer)} tokens, its embeddings {size}")
    return model, tokenizer


def prepare(ns: argparse.Namespace, folder: Path, console: Console) -> dict[str, Any]:
    """Write `teacher/` and `student/`, on the trimmed vocabulary, to the new `folder`; return what the record keeps."""
    with whole_or_nothing(folder) as partial:
        return _build(ns, partial, console)


def _build(ns: argparse.Namespace, folder: Path, console: Console) -> dict[str, Any]:
    console.print(f"teacher {ns.teacher_model}")
    teacher, tokenizer = load_model(ns.teacher_model, "--teacher_model")
    _check_sfts(ns, teacher)
    base_vocab_size = teacher.config.vocab_size
    student = load_model(ns.student, "--student")[0] if ns.student else None
    report: dict[str, Any] = {"teacher_parameters": teacher.num_parameters()}
    kept_ids = kept_ids_of(ns.student, base_vocab_size) if ns.student else None
    if kept_ids is not None:
        tokenizer = trim_tokenizer(tokenizer, kept_ids)
        trim_model(teacher, kept_ids)
    else:
        source, target = read_texts(ns, "source"), read_texts(ns, "target")
        size = f"--vocab_size {ns.vocab_size}" if ns.vocab_size else f"--vocab_threshold {ns.vocab_threshold}"
        with blaming(f"--teacher_model {ns.teacher_model}, {size}"):
            trimmed = trim_vocabulary(
                teacher, tokenizer, source, target, threshold=ns.vocab_threshold, vocab_size=ns.vocab_size
            )
        tokenizer, kept_ids = trimmed.tokenizer, trimmed.kept_ids
        report["vocabulary"] = trimmed.report.to_dict()
        console.print(trimmed.report.table())
        if student is not None and student.config.vocab_size == base_vocab_size:
            trim_model(student, kept_ids)
    chunks = read_chunks(ns, tokenizer, progress=True)
    for side in ("source", "target"):
        needed = ns.per_device_train_batch_size * startup.world_size()
        what = f"--{side}_file {getattr(ns, f'{side}_file')}"
        text.check_chunks(len(chunks[getattr(ns, f"{side}_language")].train), needed, what)
    report["chunks"] = {k: {"train": len(c.train), "validation": len(c.validation)} for k, c in chunks.items()}
    projections = None
    if student is None:
        layers = checks.layer_map(ns, teacher.config.num_hidden_layers)
        with blaming(f"--hidden_reduction_factor {ns.hidden_reduction_factor}"):
            student, layers, projections = build_student(
                teacher,
                layer_map=layers,
                hidden_reduction_factor=ns.hidden_reduction_factor,
                sample_batches=sample_batches(chunks) if ns.hidden_reduction_factor > 1 else None,
            )
    else:
        if Path(ns.student).is_dir():
            projections = load_projections(ns.student)
        with blaming(f"--student {ns.student}"):
            layers = check_student(student, teacher, _own_layer_map(ns), projections)
    for name, model in ((TEACHER, teacher), (STUDENT, student)):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    save_kept_ids(folder / STUDENT, kept_ids, base_vocab_size)
    if projections is not None:
        save_projections(folder / STUDENT, projections)
    languages = [ns.source_language, ns.target_language]
    write_alignment(folder / STUDENT, teacher=ns.teacher_model, languages=languages, layer_map=layers)
    report["student_parameters"] = student.num_parameters()
    report["trimmed_teacher_parameters"] = teacher.num_parameters()
    return report


def _own_layer_map(ns: argparse.Namespace) -> list[int] | None:
    """Return the layer map of the user's own student: the flag's, else its folder's, else None (evenly spread)."""
    if ns.layer_map is not None:
        return [int(part) for part in ns.layer_map.split(",")]
    return read_layer_map(Path(ns.student)) if Path(ns.student).is_dir() else None


def sample_batches(chunks: dict[str, Chunks]) -> Iterator[dict[str, torch.Tensor]]:
    """Yield a few chunks of each language as batches of 8, on which the projections are fitted."""
    for part in chunks.values():
        rows = part.train.with_format("torch")[:SAMPLED_CHUNKS]["input_ids"]
        for ids_BT in torch.as_tensor(rows).split(8):
            yield {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT)}


def _check_sfts(ns: argparse.Namespace, teacher: PreTrainedModel) -> None:
    """Raise InputError, naming the flag, unless both language SFTs fit the untrimmed teacher."""
    for side in ("source", "target"):
        if name := getattr(ns, f"{side}_sft"):
            with blaming(f"--{side}_sft {name}"):
                sft = SparseFineTuning.load(name)
                sft.apply(teacher, check_base=ns.teacher_model if Path(ns.teacher_model).is_dir() else None)
            sft.revert(teacher)
