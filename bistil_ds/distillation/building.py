"""Prepare phase 1 on rank 0: read the text, trim the teacher, build the student, and save both models.

Rank 0 runs this before a ZeRO-3 configuration object exists. While such an object exists, transformers partitions every
model that it loads, and code that copies weights reads empty tensors. Later, every rank loads both models from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds import text
from bistil_ds.console.terminal import say, show
from bistil_ds.distillation import checks
from bistil_ds.distillation.request import DistillationRequest, StudentPlan
from bistil_ds.distributed import startup
from bistil_ds.errors import blaming
from bistil_ds.models.families import positions_after_padding
from bistil_ds.models.left_out import left_out
from bistil_ds.models.loading import load_teacher
from bistil_ds.models.sentence_folder import copy_sentence_files
from bistil_ds.models.tokenizer_folder import save_tokenizer
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.student import build_student, check_student, load_projections
from bistil_ds.student.files import StudentFiles
from bistil_ds.student.folder import kept_ids_of, read_layer_map
from bistil_ds.student.layer_map import every_kth
from bistil_ds.student.origin import Origin, known_languages
from bistil_ds.text.tokens import KnownTokens
from bistil_ds.training.licences import gather_licences
from bistil_ds.vocabulary import trim_model, trim_tokenizer
from bistil_ds.vocabulary.embeddings import Trimming
from bistil_ds.vocabulary.trim import pieces_for, trim_by_counts

STUDENT, TEACHER = "student", "teacher"
# A narrower student is fitted to the teacher's states on so many chunks: of one language, and of all together
SAMPLED_CHUNKS, MOST_SAMPLED = 16, 32


@dataclass
class LanguageChunks:
    """Training and validation chunks of one language."""

    train: Dataset
    validation: Dataset


def read_chunks(
    request: DistillationRequest,
    tokenizer: PreTrainedTokenizerBase,
    progress: bool,
    known: Mapping[str, KnownTokens] | None = None,
) -> dict[str, LanguageChunks]:
    """Return the chunks of all languages, by language code.

    Chunks are cached by content, so the ranks that come after rank 0 do not tokenise again.

    Args:
        known: language → tokens of its text by the untrimmed tokenizer; they save time only.
    """
    found, packing = {}, request.packing
    for corpus in request.corpora:
        chunks = text.pack(
            corpus.read(),
            tokenizer,
            packing.max_length,
            num_proc=packing.workers,
            progress=progress,
            known=(known or {}).get(corpus.language),
        )
        found[corpus.language] = LanguageChunks(*text.split_validation(chunks, name=corpus.flag))
    return found


def build(request: DistillationRequest, folder: Path) -> dict[str, Any]:
    """Write `teacher/` and `student/` to `folder`, both on the trimmed vocabulary; return counts for the run's record.

    Raises:
        InputError: teacher, text, student or sparse fine-tunings (SFTs) cannot be loaded or do not fit together.
    """
    plan = request.plan
    say(f"teacher {request.teacher}")
    teacher, tokenizer = load_teacher(request.teacher, "--teacher_model")
    _check_sfts(request, teacher)
    missing = left_out(teacher.config)
    for line in missing:
        say(f"left out: {line}")
    base_vocab_size = teacher.config.vocab_size
    student = load_teacher(plan.student, "--student")[0] if plan.student else None
    report: dict[str, Any] = {"teacher_parameters": teacher.num_parameters()}
    report |= {"family": teacher.config.model_type, "left_out": missing}
    kept_ids = kept_ids_of(plan.student, base_vocab_size) if plan.student else None
    known: dict[str, KnownTokens] = {}
    if kept_ids is not None:
        checks.check_trimmed(plan)
        keep_padding_id = positions_after_padding(teacher.config.model_type)
        tokenizer = trim_tokenizer(tokenizer, kept_ids, keep_padding_id=keep_padding_id)
        trim_model(teacher, kept_ids)
    else:
        size = f"--vocab_size {plan.vocab_size}" if plan.vocab_size else f"--vocab_threshold {plan.vocab_threshold}"
        texts = {corpus.language: corpus.read() for corpus in request.corpora}
        with blaming(f"--teacher_model {request.teacher}, {size}"):
            pieces = pieces_for(teacher, tokenizer)
            workers = request.packing.workers
            known = {
                language: text.know_tokens(part, tokenizer, num_proc=workers, name=language)
                for language, part in texts.items()
            }
            counts = {language: tokens.count(pieces.rows) for language, tokens in known.items()}
            sizes: dict[str, Any] = {"threshold": plan.vocab_threshold, "vocab_size": plan.vocab_size}
            trimmed = trim_by_counts(teacher, tokenizer, texts, counts, pieces, **sizes)
        tokenizer, kept_ids = trimmed.tokenizer, trimmed.kept_ids
        report["vocabulary"] = trimmed.report.to_dict()
        for grid in trimmed.report.grids():
            show(grid)
        if student is not None and student.config.vocab_size == base_vocab_size:
            trim_model(student, kept_ids)
    chunks = read_chunks(request, tokenizer, progress=True, known=known)
    for corpus in request.corpora:
        needed = request.training["per_device_train_batch_size"] * startup.world_size()
        text.check_chunks(len(chunks[corpus.language].train), needed, corpus.file_flag)
    report["chunks"] = {k: {"train": len(c.train), "validation": len(c.validation)} for k, c in chunks.items()}
    projections = None
    if student is None:
        layers, factor = checks.layer_map(plan, teacher.config), plan.layer_reduction_factor
        with blaming(f"--hidden_reduction_factor {plan.hidden_reduction_factor}"):
            student, layers, projections = build_student(
                teacher,
                layer_map=layers,
                hidden_reduction_factor=plan.hidden_reduction_factor,
                sample_batches=sample_batches(chunks) if plan.hidden_reduction_factor > 1 else None,
            )
        if plan.layer_map is None and layers != every_kth(teacher.config.num_hidden_layers, factor):
            say(f"--layer_reduction_factor {factor}: student layers from teacher layers {', '.join(map(str, layers))}")
    else:
        if Path(str(plan.student)).is_dir():
            projections = load_projections(str(plan.student))
        with blaming(f"--student {plan.student}"):
            layers = check_student(student, teacher, _own_layer_map(plan), projections)
    for name, model in ((TEACHER, teacher), (STUDENT, student)):
        model.save_pretrained(folder / name)
        save_tokenizer(tokenizer, folder / name)
    trimming = Trimming(kept_ids, base_vocab_size)
    files = StudentFiles(request.teacher, request.languages, layers, trimming, projections, student_origin(request))
    files.write(folder / STUDENT)
    copy_sentence_files(request.teacher, folder / STUDENT, student.config, "--teacher_model")
    report["student_parameters"] = student.num_parameters()
    report["trimmed_teacher_parameters"] = teacher.num_parameters()
    return report


def student_origin(request: DistillationRequest) -> Origin:
    """Return the licences of teacher, language SFTs, text and `--student`, and the languages that the teacher knows.

    Raises:
        InputError: from `gather_licences`.
    """
    models: dict[str, str | None] = {request.teacher: request.licences.teacher}
    if request.plan.student:
        models[request.plan.student] = None
    sfts = [corpus.sft for corpus in request.corpora if corpus.sft]
    texts = [(corpus.language, corpus.file) for corpus in request.corpora]
    licences = gather_licences(models, sfts, texts, request.licences.data)
    return Origin(licences, known_languages(request.teacher))


def _own_layer_map(plan: StudentPlan) -> list[int] | None:
    """Return the layer map for `--student`, from `--layer_map` or else the student's folder; None if neither has it."""
    if plan.layer_map is not None:
        return list(plan.layer_map)
    folder = Path(str(plan.student))
    return read_layer_map(folder) if folder.is_dir() else None


def sample_batches(chunks: dict[str, LanguageChunks]) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the first training chunks of each language, equally many, in batches of 8.

    These are at most `SAMPLED_CHUNKS` of a language and `MOST_SAMPLED` in all, as memory grows with their number. Of
    more languages than that, the first ones are taken.
    """
    each = min(SAMPLED_CHUNKS, max(1, MOST_SAMPLED // len(chunks)))
    for part in islice(chunks.values(), MOST_SAMPLED):
        rows = part.train.with_format("torch")[:each]["input_ids"]
        for ids_BT in torch.as_tensor(rows).split(8):
            yield {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT)}


def _check_sfts(request: DistillationRequest, teacher: PreTrainedModel) -> None:
    """Raise InputError, naming the flag, unless all language SFTs fit the untrimmed teacher."""
    for corpus in request.corpora:
        if corpus.sft:
            with blaming(corpus.sft_flag):
                sft = SparseFineTuning.load(corpus.sft)
                sft.apply(teacher, check_base=request.teacher if Path(request.teacher).is_dir() else None)
            sft.revert(teacher)
