"""The training of phase 1, on every rank, from the folder that rank 0 prepared."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import AutoModelForMaskedLM, AutoTokenizer

from bistil_ds.distillation import preparation
from bistil_ds.distillation.arguments import (
    DistillationArguments,
    LossArguments,
)
from bistil_ds.distillation.summary import print_summary
from bistil_ds.distillation.trainer import DistillationTrainer
from bistil_ds.distributed import startup
from bistil_ds.models.loading import load_pretrained
from bistil_ds.runs import checkpoints
from bistil_ds.runs.record import RunRecord
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.student import load_projections
from bistil_ds.student.folder import OURS, base_vocab_size, model_bytes, read_layer_map
from bistil_ds.training.arguments import as_fields
from bistil_ds.training.speed import peak_memory
from bistil_ds.vocabulary import load_kept_ids


def train(values: dict[str, Any]) -> None:
    """Train from the folder that rank 0 prepared, then save the student and complete the run's record.

    Every rank calls this with the same `values`: the arguments as rank 0 settled them, by name.
    """
    ns = argparse.Namespace(**values)
    folder = Path(ns.output_dir)
    built = folder / "build"
    universal = checkpoints.universal_config(ns.deepspeed, ns.resume_from_checkpoint, startup.world_size())
    ns.deepspeed = universal or ns.deepspeed
    args = DistillationArguments(**as_fields(ns, DistillationArguments))
    student, _ = load_pretrained(AutoModelForMaskedLM, built / preparation.STUDENT, dtype="float32")
    teacher, _ = load_pretrained(AutoModelForMaskedLM, built / preparation.TEACHER, dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(built / preparation.STUDENT)
    chunks = preparation.read_chunks(ns, tokenizer, progress=False)
    layers = read_layer_map(built / preparation.STUDENT)
    assert layers is not None  # preparation wrote it
    kept = [path for path in (built / preparation.STUDENT).iterdir() if path.name in OURS]
    trainer = DistillationTrainer(
        student,
        teacher,
        args,
        layer_map=layers,
        train_dataset={language: part.train for language, part in chunks.items()},
        eval_dataset={language: part.validation for language, part in chunks.items()},
        losses=LossArguments(**as_fields(ns, LossArguments)),
        projections=load_projections(built / preparation.STUDENT),
        language_sfts=_language_sfts(ns, built),
        teacher_folder=built / preparation.TEACHER,
        keep_files=kept,
        processing_class=tokenizer,
    )
    trainer.train(resume_from_checkpoint=ns.resume_from_checkpoint)
    trainer.save_model(str(folder))
    peaks = startup.from_every_rank(peak_memory(args.device))
    if startup.rank() == 0:
        record = RunRecord.open(folder)
        record.update(results={**results(trainer, folder, built), "peak_memory_bytes": peaks})
        record.finish()
        print_summary(record.content, folder, Console())


def _language_sfts(ns: argparse.Namespace, built: Path) -> dict[str, SparseFineTuning | None]:
    """Return each language's SFT, restricted to the trimmed vocabulary; None where the flag was not given."""
    found: dict[str, SparseFineTuning | None] = {}
    for side in ("source", "target"):
        name = getattr(ns, f"{side}_sft")
        sft = SparseFineTuning.load(name) if name else None
        if sft is not None:
            kept_ids, base = load_kept_ids(built / preparation.STUDENT), base_vocab_size(built / preparation.STUDENT)
            sft = sft.restrict(kept_ids, base)
        found[getattr(ns, f"{side}_language")] = sft
    return found


def results(trainer: DistillationTrainer, folder: Path, built: Path) -> dict[str, Any]:
    """Return the results for the record: validation at the first and the best step, sizes in bytes, steps and speed."""
    history = [row for row in trainer.state.log_history if "eval_loss" in row]
    best = min(history, key=lambda row: row["eval_loss"]) if history else {}
    speeds = [row["tokens_per_second"] for row in trainer.state.log_history if "tokens_per_second" in row]
    return {
        "steps": trainer.state.global_step,
        "validation_before": history[0] if history else None,
        "validation_best": best or None,
        "tokens_per_second": sorted(speeds)[len(speeds) // 2] if speeds else None,
        "teacher_bytes": model_bytes(built / preparation.TEACHER),
        "student_bytes": model_bytes(folder),
    }
