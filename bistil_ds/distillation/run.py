"""Train phase 1 on every rank, from the folder that rank 0 prepared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bistil_ds.distillation import building
from bistil_ds.distillation.preparation import BUILD, PreparedRun
from bistil_ds.distillation.summary import print_student_summary
from bistil_ds.distillation.trainer import DistillationTrainer
from bistil_ds.distributed import startup
from bistil_ds.distributed.config import training_config
from bistil_ds.distributed.universal import universal_config
from bistil_ds.errors import InputError
from bistil_ds.models.inputs import load_tokenizer
from bistil_ds.models.loading import load_language_model
from bistil_ds.models.sentence_folder import sentence_paths
from bistil_ds.runs.record import RunRecord
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.student import load_projections
from bistil_ds.student.folder import ALIGNMENT, OURS, base_vocab_size, model_bytes, read_layer_map
from bistil_ds.training.product import check_product
from bistil_ds.training.saving.kept import kept_step, validation_at
from bistil_ds.training.speed import peak_memory
from bistil_ds.vocabulary import load_kept_ids


def train(run: PreparedRun) -> None:
    """Train the student that rank 0 prepared, then save it and complete the run's record; every rank calls this."""
    folder = run.folder
    trainer = make_trainer(run)
    trainer.train(resume_from_checkpoint=run.checkpoint)
    trainer.save_model(str(folder))
    check_product(folder, load_student)
    peaks = startup.from_every_rank(peak_memory(trainer.args.device))
    if startup.rank() == 0:
        record = RunRecord.open(folder)
        record.update(results={**results(trainer, folder, folder / BUILD), "peak_memory_bytes": peaks})
        record.finish()
        print_student_summary(record.content, folder)


def load_student(folder: Path) -> None:
    """Check that everything phase 2 needs from a student's folder can be loaded.

    Raises:
        InputError: something is missing or damaged.
    """
    load_language_model(folder)
    load_tokenizer("", folder)
    load_kept_ids(folder)
    load_projections(folder)
    if read_layer_map(folder) is None:
        raise InputError(f"{folder / ALIGNMENT}: no such file")


def make_trainer(run: PreparedRun, **changes: Any) -> DistillationTrainer:
    """Return the trainer of a prepared run; every rank calls this.

    Args:
        run: the run, whose models lie in its folder.
        changes: training arguments that replace those of the request, such as a dry run's.
    """
    request, built = run.request, run.folder / BUILD
    config = training_config(request.training["deepspeed"])
    deepspeed = universal_config(config, run.checkpoint, startup.world_size()) or config
    fixed = {"output_dir": str(run.folder), "resume_from_checkpoint": run.checkpoint, "deepspeed": deepspeed}
    args = request.training.build(**fixed, **changes)
    student = load_language_model(built / building.STUDENT, dtype="float32")
    teacher = load_language_model(built / building.TEACHER, dtype="float32")
    tokenizer = load_tokenizer("", built / building.STUDENT)
    chunks = building.read_chunks(request, tokenizer, progress=False)
    layers = read_layer_map(built / building.STUDENT)
    assert layers is not None  # preparation wrote it
    kept = [path for path in (built / building.STUDENT).iterdir() if path.name in OURS]
    kept += sentence_paths(built / building.STUDENT)
    return DistillationTrainer(
        student,
        teacher,
        args,
        layer_map=layers,
        train_dataset={language: part.train for language, part in chunks.items()},
        eval_dataset={language: part.validation for language, part in chunks.items()},
        losses=request.losses,
        projections=load_projections(built / building.STUDENT),
        language_sfts=_language_sfts(run),
        teacher_folder=built / building.TEACHER,
        keep_files=kept,
        processing_class=tokenizer,
    )


def _language_sfts(run: PreparedRun) -> dict[str, SparseFineTuning | None]:
    """Return language → its sparse fine-tuning (SFT), restricted to the trimmed vocabulary; None if it has no SFT."""
    found: dict[str, SparseFineTuning | None] = {}
    student = run.folder / BUILD / building.STUDENT
    for corpus in run.request.corpora:
        sft = SparseFineTuning.load(corpus.sft) if corpus.sft else None
        if sft is not None:
            sft = sft.restrict(load_kept_ids(student), base_vocab_size(student))
        found[corpus.language] = sft
    return found


def results(trainer: DistillationTrainer, folder: Path, built: Path) -> dict[str, Any]:
    """Return the run's results: steps, validations before training and of the kept student, speed, costs, sizes."""
    state, metric = trainer.state, "eval_loss"
    speeds = [row["tokens_per_second"] for row in state.log_history if "tokens_per_second" in row]
    return {
        "steps": state.global_step,
        "validation_before": validation_at(state, 0, metric),
        "validation_best": validation_at(state, kept_step(trainer.args, state), metric),
        "tokens_per_second": sorted(speeds)[len(speeds) // 2] if speeds else None,
        "tokens": state.num_input_tokens_seen,
        "flops": state.total_flos,
        "teacher_bytes": model_bytes(built / building.TEACHER),
        "student_bytes": model_bytes(folder),
    }
