"""Test that no state with a number that is not finite is saved or trained on, and what the error says of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sparse_material as material
import torch
from torch import Tensor
from transformers import TrainerCallback, set_seed

from bistil_ds.errors import NonFiniteError, NonFiniteLossError
from bistil_ds.runs import checkpoints
from bistil_ds.training.base_trainer import BaseTrainer
from bistil_ds.training.finite_trainer import MOST_SKIPS, BatchLoss, FiniteTrainer
from bistil_ds.tuning.lottery_ticket import LotteryTicketTrainer

Event = Callable[["Watched"], None]


class Watched(material.TagTrainer):
    """A trainer that calls `events[step]` at the end of a step, and multiplies its loss by `factor`."""

    factor = 1.0
    compute_loss = BaseTrainer.compute_loss

    def __init__(self, *args: Any, events: dict[int, Event] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_callback(AtStep(self, events or {}))

    def batch_loss(self, model: Any, inputs: dict[str, Any], micro_step: int, progress: float) -> BatchLoss:
        loss = model(**inputs).loss * self.factor
        return BatchLoss(loss, {"loss": loss.detach()}, "train", lambda: f"language aa, rows of batch {micro_step}")


class AtStep(TrainerCallback):
    def __init__(self, trainer: Watched, events: dict[int, Event]) -> None:
        self.trainer, self.events = trainer, events

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in self.events:
            self.events[state.global_step](self.trainer)


class AtEnd(TrainerCallback):
    """Callback that records the end of a training, as that of a stage is recorded."""

    def __init__(self, recorded: list[int]) -> None:
        self.recorded = recorded

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.recorded.append(state.global_step)


def spoil_weights(value: float) -> Event:
    """Return an event that writes `value` into the embedding of a token that no text holds."""

    def spoil(trainer: Watched) -> None:
        with torch.no_grad():
            trainer.model.get_input_embeddings().weight[3, 0] = value

    return spoil


def set_rate(value: float) -> Event:
    """Return an event that sets the learning rate of the next step."""

    def change(trainer: Watched) -> None:
        for group in trainer.optimizer.param_groups:
            group["lr"] = value

    return change


def spoil_loss(trainer: Watched) -> None:
    trainer.factor = math.inf


def watched(base: Path, folder: Path, events: dict[int, Event] | None = None, **changes: Any) -> Watched:
    """Return a trainer for four steps that saves after the second and the fourth."""
    args = material.arguments(folder, **{"max_steps": 4, "lr_scheduler_type": "constant", **changes})
    set_seed(3)  # for the head, which is new
    return Watched(material.load(base), args, train_dataset=material.Tags(64), events=events)


def bits(trainer: Watched) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


EMBEDDING = r"roberta\.embeddings\.word_embeddings\.weight;"


@pytest.mark.parametrize(
    ("step", "spoil", "message", "saves"),
    [
        (4, spoil_weights(math.inf), f"non-finite weights after step 4, .*: {EMBEDDING}", True),
        (4, spoil_weights(math.nan), f"non-finite weights after step 4, .*: {EMBEDDING}", False),
        (4, spoil_weights(1e30), "non-finite weights after step 4", True),  # finite, but its square is not
        (3, set_rate(1e30), r"non-finite weights after step 4, .*: \S+ and \d+ more;", True),
        (3, set_rate(1e30), r"non-finite weights after step 4, .*: \S+ and \d+ more;", False),
        (4, spoil_loss, r"non-finite loss after step 4, .*\{'loss': inf\}", True),
    ],
    ids=["infinite weight", "NaN weight", "huge weight", "huge last update", "huge last update, no save", "loss"],
)
def test_a_state_that_is_not_finite_is_not_saved_and_not_returned(
    base: Path, tmp_path: Path, step: int, spoil: Event, message: str, saves: bool
) -> None:
    trainer = watched(base, tmp_path, {step: spoil}, save_strategy="steps" if saves else "no")
    trainer.add_callback(AtEnd(recorded := []))
    with pytest.raises(NonFiniteError, match=message) as error:
        trainer.train()
    assert recorded == []
    assert "rank 0, language aa, rows of batch 3" in str(error.value)
    assert "\n" not in str(error.value)
    assert checkpoints.all_checkpoints(tmp_path) == ([tmp_path / "checkpoint-2"] if saves else [])
    assert not saves or checkpoints.broken(tmp_path / "checkpoint-2") is None


@pytest.mark.parametrize(
    ("gradient", "max_grad_norm", "learning_rate"),
    [(math.inf, 1.0, 1e-2), (math.nan, 0.0, 1e-2), (1e30, 1.0, 1e-2), (math.inf, 0.0, 0.0)],
)
def test_a_gradient_that_is_not_finite_stops_before_the_update(
    base: Path, tmp_path: Path, gradient: float, max_grad_norm: float, learning_rate: float
) -> None:
    before: list[dict[str, Tensor]] = []

    def overflow(trainer: Watched) -> None:
        before.append(bits(trainer))
        trainer.model.classifier.bias.register_hook(lambda found: torch.full_like(found, gradient))

    rates = {"learning_rate": learning_rate, "max_grad_norm": max_grad_norm}
    trainer = watched(base, tmp_path, {2: overflow}, **rates)
    with pytest.raises(NonFiniteError, match=r"gradient norm \((inf|nan)\) at step 3, rank 0, language aa") as error:
        trainer.train()
    assert "no update was made" in str(error.value)
    after = bits(trainer)
    assert all(torch.equal(after[name], tensor) for name, tensor in before[0].items())
    assert checkpoints.all_checkpoints(tmp_path) == [tmp_path / "checkpoint-2"]


def test_an_early_micro_step_is_named_and_nothing_is_updated(base: Path, tmp_path: Path) -> None:
    made: list[int] = []

    class OneBadBatch(Watched):
        def batch_loss(self, model: Any, inputs: dict[str, Any], micro_step: int, progress: float) -> BatchLoss:
            made.append(micro_step)
            self.factor = math.nan if micro_step == 3 else 1.0
            return super().batch_loss(model, inputs, micro_step, progress)

    args = material.arguments(tmp_path, max_steps=4, gradient_accumulation_steps=3)
    trainer = OneBadBatch(material.load(base), args, train_dataset=material.Tags(64))
    with pytest.raises(
        NonFiniteLossError, match=r"at step 2, micro-step 4, rank 0, .*'loss': nan.*; no update was made"
    ):
        trainer.train()
    assert trainer.state.global_step == 1
    assert made == [0, 1, 2, 3, 4, 5]  # the ranks agree at the end of a step


def test_a_loss_without_targets_stops_the_run_and_leaves_no_trace_in_the_model(base: Path, tmp_path: Path) -> None:
    class NoTargets(Watched):
        def batch_loss(self, model: Any, inputs: dict[str, Any], micro_step: int, progress: float) -> BatchLoss:
            logits = model(**inputs).logits
            loss = (logits[:0] if micro_step == 1 else logits).mean()  # NaN with gradients of 0, or finite
            return BatchLoss(loss, {"loss": loss.detach()}, "train", lambda: f"batch {micro_step}")

    args = material.arguments(tmp_path, max_steps=3)
    trainer = NoTargets(material.load(base), args, train_dataset=material.Tags(64))
    with pytest.raises(NonFiniteLossError, match=r"at step 2, micro-step 2, rank 0, batch 1: .*; no update was made"):
        trainer.train()
    trainer.model.zero_grad()
    trainer.model(input_ids=torch.tensor([[5, 6]])).logits.mean().backward()
    assert all(one.grad.isfinite().all() for one in trainer.model.parameters() if one.grad is not None)


def test_the_checks_change_no_bit(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(self: FiniteTrainer) -> str:
        raise AssertionError("rows are described only where something is wrong")

    checked = watched(base, tmp_path / "checked")
    checked.add_callback(AtEnd(recorded := []))
    with monkeypatch.context() as patched:
        patched.setattr(FiniteTrainer, "_where", describe)
        checked.train()
    assert recorded == [4]
    for name in ("_check_gradients", "check_state"):
        monkeypatch.setattr(FiniteTrainer, name, lambda *args, **kwargs: None)
    unchecked = watched(base, tmp_path / "unchecked")
    unchecked.train()
    after = bits(unchecked)
    assert all(torch.equal(after[name], tensor) for name, tensor in bits(checked).items())


@pytest.mark.parametrize("kind", ["full", "sparse", "dense"])
def test_no_stage_leaves_a_result_that_is_not_finite(base: Path, tmp_path: Path, kind: str) -> None:
    changes = {"full": {}, "sparse": {"selection": "random"}, "dense": {"dense": True}}[kind]
    args = material.arguments(tmp_path, learning_rate=1e30, num_train_epochs=1, save_strategy="no")
    steps = {"full_max_steps": 1, "sparse_max_steps": 1, "k": None if kind == "dense" else 50, **changes}
    tuning = LotteryTicketTrainer(lambda: material.load(base), material.factory(), args, material.sparse(**steps), base)
    with pytest.raises(NonFiniteError, match="non-finite weights after step 1"):
        tuning.train()
    assert tuning.stages[0].kind == kind
    assert not tuning.stages[0].result.exists()


# fp16: the loss scaler skips updates


def test_skipped_updates_are_counted_and_fifty_in_a_row_are_an_error(base: Path, tmp_path: Path) -> None:
    trainer = watched(base, tmp_path)

    def steps(norm: float, count: int) -> None:
        for _ in range(count):
            trainer._check_gradients(norm, "no update was made", scaled=True)

    steps(math.inf, MOST_SKIPS - 1)
    steps(1.0, 1)
    steps(math.nan, MOST_SKIPS - 1)
    assert trainer.drain_skips() == 2 * (MOST_SKIPS - 1)
    assert trainer.drain_skips() == 0
    with pytest.raises(NonFiniteError, match=f"has skipped {MOST_SKIPS} updates in a row, the last at step 1, rank 0"):
        steps(math.inf, 1)


@pytest.mark.parametrize("falls", [True, False], ids=["scale falls", "scale stays too high"])
def test_torchs_loss_scaler_may_skip_updates_but_not_for_ever(base: Path, tmp_path: Path, falls: bool) -> None:
    trainer = watched(base, tmp_path, max_steps=2 * MOST_SKIPS, save_strategy="no")
    backoff = 2.0**-100 if falls else 1 - 1e-7
    trainer.factor = 1e4  # so that gradients overflow at this scale
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120, backoff_factor=backoff)
    if falls:
        trainer.train()
    else:
        with pytest.raises(NonFiniteError, match=f"{MOST_SKIPS} updates in a row, the last at step {MOST_SKIPS}"):
            trainer.train()
    lines = {row["step"]: row.get("skipped_updates") for row in trainer.state.log_history if "loss" in row}
    assert lines[1] == 1
    assert lines.get(MOST_SKIPS) is None
