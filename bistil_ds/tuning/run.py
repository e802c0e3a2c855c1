"""Teacher tuning and phase 2 on every rank: train the stages, with models from the folder that rank 0 prepared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, TrainerCallback, TrainerState, TrainingArguments

from bistil_ds.distributed import startup
from bistil_ds.distributed.agreement import failing_together
from bistil_ds.distributed.config import training_config
from bistil_ds.models.inputs import load_tokenizer
from bistil_ds.runs.record import RunRecord
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.tasks.data import TaskData
from bistil_ds.training.product import check_product
from bistil_ds.training.saving.kept import kept_step, validation_at
from bistil_ds.training.speed import peak_memory
from bistil_ds.tuning.building import BASE, named_head_parameters
from bistil_ds.tuning.checks import limit_steps
from bistil_ds.tuning.data import development_sets, languages_of, read_data, training_rows
from bistil_ds.tuning.lottery_ticket import LotteryTicketTrainer
from bistil_ds.tuning.preparation import BUILD, PreparedRun
from bistil_ds.tuning.stage import Stage
from bistil_ds.tuning.summary import print_stages
from bistil_ds.tuning.trainer import TaskTrainer, ask_teacher


def train(run: PreparedRun) -> None:
    """Train what rank 0 prepared, save the sparse fine-tuning, and complete the run's record; every rank calls this."""
    folder, metric = run.folder, run.request.task.metric
    trainer = make_trainer(run, lambda one, stage: one.add_callback(KeepResult(stage.folder, metric)))
    fine_tuning = trainer.train(resume=run.resume)
    peaks = startup.from_every_rank(peak_memory(trainer.args.device))
    with failing_together():
        if startup.rank() == 0:
            fine_tuning.save(folder)
    check_product(folder, SparseFineTuning.load)
    if startup.rank() == 0:
        record = RunRecord.open(folder)
        record.update(results={"peak_memory_bytes": peaks})
        record.finish()
        print_stages(record.content, folder)


def make_trainer(run: PreparedRun, watch: Callable[[TaskTrainer, Stage], None], **changes: Any) -> LotteryTicketTrainer:
    """Return the trainer of all stages of a prepared run; every rank calls this.

    Args:
        run: the run, whose models lie in its folder.
        watch: function of a stage's trainer and the stage, called before the stage trains.
        changes: training arguments that replace the request's, in a dry run.
    """
    request, labels, task = run.request, run.labels, run.request.task
    build = run.folder / BUILD
    tokenizer = load_tokenizer("", build / BASE)
    own = task.for_model(build / BASE)  # the teacher may do the task otherwise
    examples = read_data(request.data, task, progress=startup.rank() == 0)
    rows = training_rows(request.data, examples, own, tokenizer, labels)
    dev = development_sets(request.data, examples, own, tokenizer, labels)
    asked: dict[str, TaskData] = {}  # the validation sets with the teacher's answers, once they are needed
    distiller_of = request.model.distillers(build, task, labels)

    def load_model() -> PreTrainedModel:
        model = task.load_model(build / BASE, labels)
        if not task.trains_head:
            for parameter in named_head_parameters(model).values():
                parameter.requires_grad_(False)
        return model

    def stage_trainer(model: PreTrainedModel, args: Any, stage: Stage) -> TaskTrainer:
        distiller = distiller_of(model, args)
        if task.needs_teacher and stage.kind != "full" and not asked:  # full stages never validate
            assert distiller is not None
            asked.update({name: ask_teacher(distiller, data, args) for name, data in dev.items()})
        trainer = TaskTrainer(model, args, task=own, labels=labels, rows=rows, dev=asked or dev, distiller=distiller)
        watch(trainer, stage)
        return trainer

    best = {"metric_for_best_model": f"eval_{task.metric}", "greater_is_better": True}
    deepspeed = training_config(request.training["deepspeed"])
    fixed = {"output_dir": str(run.folder), "resume_from_checkpoint": run.resume, "deepspeed": deepspeed, **best}
    args = request.training.build(**fixed, **changes)
    return LotteryTicketTrainer(
        load_model,
        stage_trainer,
        args,
        limit_steps(request, len(rows)),
        base_folder=build / BASE,
        metadata={
            **run.base,
            "task": task.name,
            "labels": list(labels),
            "languages": languages_of(request.data.train),
            "languages_without_labels": languages_of(request.data.unlabelled),
            "max_length": request.data.max_length,
            **own.metadata(),
        },
    )


class KeepResult(TrainerCallback):
    """Callback that records a stage's outcome when the stage ends: steps, speed, and the kept step with its metrics.

    The trainer has found the final state finite before it calls this.

    Args:
        folder: the stage's folder inside the run folder.
        metric: the task's main metric.
    """

    def __init__(self, folder: Path, metric: str) -> None:
        self.folder, self.metric = folder, f"eval_{metric}"

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        step = kept_step(args, state)
        validation = validation_at(state, step, self.metric) or {}
        speeds = sorted(row["tokens_per_second"] for row in state.log_history if "tokens_per_second" in row)
        entry = {
            "stage": self.folder.name,
            "steps": state.global_step,
            "metrics": {name: value for name, value in validation.items() if name.startswith("eval_")},
            "kept_step": step,
            "tokens_per_second": speeds[len(speeds) // 2] if speeds else None,
            "tokens": state.num_input_tokens_seen,
            "flops": state.total_flos,
        }
        record = RunRecord.open(self.folder.parent)
        earlier = [one for one in record.content["results"].get("stages", []) if one["stage"] != entry["stage"]]
        record.update(results={"stages": [*earlier, entry]})
