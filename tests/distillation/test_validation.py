"""Test phase 1's validation: what it measures, and that it chooses the student and changes no training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from distilling.trainers import LANGUAGES, Make, chunks, logged, same_bits, weights
from transformers import PreTrainedTokenizerFast, TrainerState

from bistil_ds.distillation.arguments import LossArguments
from bistil_ds.distillation.building import TEACHER
from bistil_ds.distillation.run import results
from bistil_ds.errors import InputError, NonFiniteLossError


def test_padding_changes_nothing(make: Make, tokenizer: PreTrainedTokenizerFast) -> None:
    rows = chunks(tokenizer, "aa", 3, 1, packed=False)["input_ids"]
    lengths = [len(row) for row in rows]
    assert len(set(lengths)) > 1
    trainer = make()
    together = trainer.evaluate({"aa": Dataset.from_dict({"input_ids": rows})})
    alone = [trainer.evaluate({"aa": Dataset.from_dict({"input_ids": [row]})}) for row in rows]
    by_token = sum(n * one["eval_aa_hidden"] for n, one in zip(lengths, alone)) / sum(lengths)
    by_pair = sum(n * n * one["eval_aa_attention"] for n, one in zip(lengths, alone)) / sum(n * n for n in lengths)
    assert together["eval_aa_hidden"] == pytest.approx(by_token, rel=1e-5)
    assert together["eval_aa_attention"] == pytest.approx(by_pair, rel=1e-5)


def test_validation_reports_every_term_of_every_layer_and_language(make: Make) -> None:
    metrics = make().evaluate()
    for language in LANGUAGES:
        for name, count in (("hidden", 3), ("cosine", 3), ("attention", 2)):
            layers = [metrics[f"eval_{language}_{name}_{i}"] for i in range(count)]
            assert metrics[f"eval_{language}_{name}"] == pytest.approx(sum(layers) / count, rel=1e-5)
        total = metrics[f"eval_{language}_hidden"] + metrics[f"eval_{language}_attention"]
        assert metrics[f"eval_{language}_loss"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize(
    ("hidden", "attention", "counts"),
    [("0:1", "0:2", (1, 2)), ("1:0", "0:2", (0, 2)), ("1:0", "2:0", (1, 2)), ("0.5", "1:2", (0.5, 2))],
)
def test_scheduled_weights_count_as_at_the_end_or_where_all_fall_to_0_as_at_the_start(
    make: Make, hidden: str, attention: str, counts: tuple[float, float]
) -> None:
    metrics = make(LossArguments(hidden_weight=hidden, attention_weight=attention)).evaluate()
    for one in LANGUAGES:
        total = counts[0] * metrics[f"eval_{one}_hidden"] + counts[1] * metrics[f"eval_{one}_attention"]
        assert total > 0
        assert metrics[f"eval_{one}_loss"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("batch", [1, 3, 10, 64])
def test_validation_is_the_same_whatever_its_batch_size(make: Make, batch: int) -> None:
    metrics, one = (make(per_device_eval_batch_size=size).evaluate() for size in (batch, 8))
    assert metrics == pytest.approx(one, rel=1e-5)


def test_validation_before_and_after_training_does_not_change_training(make: Make, tmp_path: Path) -> None:
    plain, watched = make(output_dir=str(tmp_path / "a")), make(output_dir=str(tmp_path / "b"))
    plain.train()
    first = watched.evaluate()
    watched.train()
    last = watched.evaluate()
    assert first["eval_loss"] == logged(watched, "eval_loss")[0]
    assert last["eval_loss"] == pytest.approx(min(logged(watched, "eval_loss")))
    assert same_bits(weights(plain.model), weights(watched.model))
    assert logged(plain, "loss") == logged(watched, "loss")


def test_the_best_student_is_kept_not_the_last(make: Make, tmp_path: Path) -> None:
    trainer = make(learning_rate=0.3, max_steps=9, eval_steps=3, lr_scheduler_type="constant", max_grad_norm=0)
    values = iter([5.0, 3.0, 2.0, 4.0, 2.5])  # validation before the first step and after steps 3, 6 and 9
    evaluate = trainer.evaluate
    at: dict[int, dict[str, torch.Tensor]] = {}

    def scripted(*args: Any, **kwargs: Any) -> dict[str, float]:
        at[trainer.state.global_step] = weights(trainer.model)
        return {**evaluate(*args, **kwargs), "eval_loss": next(values)}

    trainer.evaluate = scripted  # type: ignore[method-assign]
    trainer.train()
    assert same_bits(weights(trainer.model), at[6])
    assert not same_bits(at[6], at[9])


def test_a_last_update_that_is_not_finite_is_found_in_validation(make: Make, tmp_path: Path) -> None:
    trainer = make(max_steps=1, learning_rate=1e30, lr_scheduler_type="constant")
    with pytest.raises(NonFiniteLossError, match=r"in the validation after step 1, rank 0, language .*'eval_loss': "):
        trainer.train()
    assert not list((tmp_path / "run").glob("checkpoint-*"))


def test_training_without_validation_data_says_so_at_once_or_does_not_validate(make: Make) -> None:
    trainer = make()
    trainer.eval_dataset = {}
    with pytest.raises(InputError, match="eval_dataset is missing: give chunks to validate on, or eval_strategy='no'"):
        trainer.train()
    trainer = make(max_steps=1, eval_strategy="no", load_best_model_at_end=False, save_strategy="no")
    trainer.eval_dataset = {}
    trainer.train()
    assert trainer.state.global_step == 1


@pytest.mark.parametrize(
    ("first", "best", "loads_best", "before", "kept"),
    [
        (0, "run/checkpoint-4", True, 0, 4),  # by another metric than the loss, whose lowest is that of step 8
        (0, "run/checkpoint-4", False, 0, 12),
        (2, "run/checkpoint-8", True, None, 8),  # without --eval_on_start
        (0, None, True, 0, 12),
    ],
)
def test_a_record_holds_the_validations_before_training_and_of_what_is_kept(
    tmp_path: Path,
    teacher_folder: Path,
    first: int,
    best: str | None,
    loads_best: bool,
    before: int | None,
    kept: int,
) -> None:
    rows = [{"step": step, "eval_loss": loss} for step, loss in ((first, 1.0), (4, 3.0), (8, 2.0), (12, 2.5))]
    state = TrainerState(log_history=rows, global_step=12, best_model_checkpoint=best)
    trainer: Any = SimpleNamespace(state=state, args=SimpleNamespace(load_best_model_at_end=loads_best))
    (tmp_path / TEACHER).mkdir()
    found = results(trainer, teacher_folder, tmp_path)
    assert (found["validation_before"] or {}).get("step") == before
    assert found["validation_best"]["step"] == kept
