"""Test one stage of task training: what is validated and saved, and the error when training cannot go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import text_lines, write_teacher
from transformers import AutoTokenizer, TrainerCallback, set_seed
from transformers.trainer_callback import DefaultFlowCallback

from bistil_ds.errors import NonFiniteError, NonFiniteLossError
from bistil_ds.runs import checkpoints
from bistil_ds.tasks import find_task
from bistil_ds.tasks.data import TaskData
from bistil_ds.tasks.examples import Place, TaggedSentence, Text
from bistil_ds.tuning.arguments import TaskTrainingArguments
from bistil_ds.tuning.trainer import TaskTrainer

NER, MLM, LABELS = find_task("ner"), find_task("mlm"), ("O", "B-PER", "I-PER")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("model"), layers=1, width=16)


def trainer(base: Path, folder: Path, **changes: Any) -> TaskTrainer:
    """Return a trainer on 20 sentences, ten to a batch."""
    examples = []
    for i, line in enumerate(text_lines("aa", 20), start=1):
        words = tuple(line.rstrip(".").split())
        tags = tuple("B-PER" if word.startswith("ba") else "O" for word in words)
        examples.append(TaggedSentence(words, tags, Place("f.txt", i)))
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = NER.features(examples, tokenizer, LABELS, 64, training=True)
    dev = TaskData(NER, "aa", "f.txt", examples, NER.features(examples, tokenizer, LABELS, 64, training=False))
    given: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 10,
        "learning_rate": 1e-3,
        "report_to": "none",
        "disable_tqdm": True,
        "save_total_limit": None,
        "metric_for_best_model": "eval_f1",
        "greater_is_better": True,
        **changes,
    }
    args = TaskTrainingArguments(**given)
    return TaskTrainer(NER.load_model(base, LABELS), args, task=NER, labels=LABELS, rows=rows, dev={"aa": dev})


def test_a_non_finite_loss_names_step_micro_step_and_batch(base: Path, tmp_path: Path) -> None:
    made = trainer(
        base, tmp_path, max_steps=3, per_device_train_batch_size=5, gradient_accumulation_steps=2, eval_strategy="no",
        save_strategy="no", load_best_model_at_end=False,
    )  # fmt: skip
    seen: list[dict[str, Any]] = []
    whole, compute_loss = made.data_collator, made.compute_loss

    def spoiling(model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        seen.append(dict(inputs))
        if len(seen) == 4:
            with torch.no_grad():
                made.model.classifier.bias.fill_(float("nan"))
        return compute_loss(model, inputs, *args, **kwargs)

    made.compute_loss = spoiling  # type: ignore[method-assign]
    with pytest.raises(NonFiniteLossError) as error:
        made.train()
    examples = seen[3]["example"]
    again = whole([row for i in examples for row in made.train_dataset if row["example"] == i])
    # the examples named in the error are those of the batch
    assert torch.equal(again["input_ids"], seen[3]["input_ids"])
    message = str(error.value)
    assert "step 2, micro-step 4, rank 0, epoch 0.500" in message
    assert f"input_ids {list(seen[3]['input_ids'].shape)}, examples {examples}" in message
    assert "'loss': nan" in message


def test_a_last_update_that_is_not_finite_is_not_saved(base: Path, tmp_path: Path) -> None:
    made = trainer(base, tmp_path, max_steps=1, learning_rate=1e30, lr_scheduler_type="constant")
    with pytest.raises(NonFiniteError, match=r"after step 1, rank 0, epoch 0\.000, .*; nothing was saved"):
        made.train()
    assert not list(tmp_path.glob("checkpoint-*"))


class OnlyIntervals(TrainerCallback):
    """Stand-in for transformers' own callback that acts at the intervals and not at the last step."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_evaluate = control.should_save = state.global_step % state.eval_steps == 0
        control.should_training_stop = state.global_step >= state.max_steps


@pytest.mark.parametrize("own", [True, False], ids=["any transformers", "this transformers"])
def test_the_last_step_is_validated_once_and_saved(base: Path, tmp_path: Path, own: bool) -> None:
    steps = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 2, "save_steps": 2}
    made = trainer(base, tmp_path, max_steps=5, **steps)
    if own:
        made.remove_callback(DefaultFlowCallback)
        made.callback_handler.callbacks.insert(0, OnlyIntervals())
    made.train()
    assert [row["step"] for row in made.state.log_history if "eval_f1" in row] == [2, 4, 5]
    assert (tmp_path / "checkpoint-5").is_dir()


def test_epochs_are_validated_once_each_the_last_part_of_one_too(base: Path, tmp_path: Path) -> None:
    made = trainer(base, tmp_path, max_steps=3)
    made.train()
    assert [row["step"] for row in made.state.log_history if "eval_f1" in row] == [2, 3]
    assert (tmp_path / "checkpoint-3").is_dir()


@pytest.mark.parametrize(("rows", "workers"), [(1, 0), (3, 2)])
def test_masks_of_language_modelling_are_those_of_a_run_that_nothing_stopped(
    base: Path, tmp_path: Path, rows: int, workers: int
) -> None:
    texts = [Text(line, Place("f.txt", i)) for i, line in enumerate(text_lines("aa", 8), start=1)]
    features = MLM.features(texts, AutoTokenizer.from_pretrained(base), (), 16, training=True)[:6]
    by_steps = {"max_steps": 5, "save_strategy": "steps", "save_steps": 3, "eval_strategy": "no"}
    given = {
        **by_steps,
        "load_best_model_at_end": False,
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 1,
        "learning_rate": 1e-3,
    }

    def made() -> TaskTrainer:
        args = TaskTrainingArguments(
            output_dir=str(tmp_path), per_device_train_batch_size=rows, dataloader_num_workers=workers, **given
        )
        set_seed(args.seed)
        return TaskTrainer(MLM.load_model(base, ()), args, task=MLM, labels=(), rows=features, dev={})

    def losses(one: TaskTrainer) -> list[float]:
        return [row["loss"] for row in one.state.log_history if "loss" in row]

    whole, again = made(), made()
    whole.train()
    again.train(resume_from_checkpoint=checkpoints.Checked(tmp_path / "checkpoint-3"))
    assert len(losses(whole)) == 5
    assert losses(again) == losses(whole)
