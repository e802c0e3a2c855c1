"""Test that a step on static tensors trains as every other step; a twin stands for the CUDA graphs (see `replay`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from distilling.trainers import LANGUAGES, Make, logged, same_bits, weights
from random_sfts import random_sft

from bistil_ds.distillation.arguments import LossArguments
from bistil_ds.distillation.trainer import DistillationTrainer
from bistil_ds.errors import InputError, NonFiniteLossError, Notice
from bistil_ds.runs.record import RunRecord
from bistil_ds.training.estimate.first_steps import TIMED, FirstSteps
from bistil_ds.training.graphs.replay import Twin
from bistil_ds.training.graphs.step import STEPS_BEFORE

QUIET: dict[str, Any] = {
    "eval_strategy": "no",
    "eval_on_start": False,
    "load_best_model_at_end": False,
    "save_strategy": "no",
}
KEYS = ("loss", "grad_norm", "learning_rate", *(f"{one}/attention_1" for one in LANGUAGES))


def replaying(trainer: DistillationTrainer) -> DistillationTrainer:
    trainer.args.cuda_graphs = True  # after the check, which refuses a CPU
    return trainer


def optimizer_state(trainer: DistillationTrainer) -> dict[str, torch.Tensor]:
    state = trainer.optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, row in state.items() for name, value in row.items()}


@pytest.mark.parametrize(
    ("losses", "flags"),
    [
        ({}, {"max_grad_norm": 0.05, "weight_decay": 0.1, "warmup_steps": 3}),
        ({}, {"max_grad_norm": 0, "lr_scheduler_type": "cosine"}),
        ({"attention_loss": "kl", "hidden_loss": "cosine", "align_layers": "last"}, {"bf16": True}),
        ({"hidden_weight": "0", "relation_weight": "2", "published_losses": True}, {"teacher_dtype": "bfloat16"}),
    ],
)
def test_replayed_steps_give_the_bits_of_usual_steps(
    make: Make, teacher_folder: Path, losses: dict[str, Any], flags: dict[str, Any]
) -> None:
    def run() -> DistillationTrainer:
        teacher = make().teacher  # every call makes the same one
        sfts = {one: random_sft(teacher, seed) for seed, one in enumerate(LANGUAGES)}
        keep = {"teacher_folder": teacher_folder, "language_sfts": sfts}
        return make(LossArguments(**losses), keep=keep, **QUIET, **flags)

    usual, static = run(), replaying(run())
    usual.train()
    static.train()
    assert static.static_step is not None
    assert static.static_step.as_record() == {"replayed": ["gradients", "update"], "failed": {}}
    assert same_bits(weights(static.model), weights(usual.model))
    assert same_bits(optimizer_state(static), optimizer_state(usual))
    for key in KEYS:
        assert len(logged(usual, key)) > 2
        assert logged(static, key) == logged(usual, key)
    groups = [trainer.optimizer.state_dict()["param_groups"] for trainer in (usual, static)]
    assert groups[0] == groups[1], "a checkpoint does not depend on graphs"


def test_gradients_stay_in_their_places(make: Make) -> None:
    trainer = replaying(make(**QUIET))
    places: list[list[int]] = []
    step = trainer.training_step

    def noting(*args: Any, **kwargs: Any) -> torch.Tensor:
        found = step(*args, **kwargs)
        places.append([p.grad.data_ptr() for p in trainer.model.parameters() if p.grad is not None])
        return found

    trainer.training_step = noting  # type: ignore[method-assign]
    trainer.train()
    assert places[-1] == places[-2] == places[STEPS_BEFORE]


def test_rows_of_unequal_lengths_and_scheduled_weights_train_alike(make: Make) -> None:
    losses = LossArguments(hidden_weight="2:0", attention_weight="0:5")
    usual, static = make(losses, packed=False, **QUIET), replaying(make(losses, packed=False, **QUIET))
    usual.train()
    static.train()
    assert static.static_step is not None
    assert static.static_step.as_record()["failed"] == {}
    for key in KEYS:
        assert logged(static, key) == pytest.approx(logged(usual, key), rel=1e-4)
    # Adam's first steps have about the same length whatever the gradient, and small gradients are rounding
    for name, weight in weights(usual.model).items():
        torch.testing.assert_close(static.model.state_dict()[name], weight, rtol=0, atol=2e-4)


@pytest.mark.parametrize("first", [True, False])
def test_a_checkpoint_is_resumed_with_and_without_graphs(make: Make, first: bool) -> None:
    flags = {**QUIET, "save_strategy": "steps", "save_steps": 6, "max_steps": 12}
    whole = make(**QUIET, max_steps=12)
    whole.train()
    begun, resumed = make(**flags), make(**flags)
    (replaying(begun) if first else begun).train()
    (resumed if first else replaying(resumed)).train(resume_from_checkpoint=f"{begun.args.output_dir}/checkpoint-6")
    assert resumed.state.global_step == 12
    assert same_bits(weights(resumed.model), weights(whole.model))


def test_a_second_training_records_anew(make: Make) -> None:
    usual, static = make(**QUIET), replaying(make(**QUIET))
    for trainer in (usual, usual, static):
        trainer.train()
    before = static.static_step
    static.train()
    assert static.static_step is not before
    assert same_bits(weights(static.model), weights(usual.model))


def test_validation_and_checkpoints_between_replays_change_nothing(make: Make) -> None:
    runs = make(eval_steps=2, save_steps=2), replaying(make(eval_steps=2, save_steps=2))
    for trainer in runs:
        trainer.train()
    assert logged(runs[0], "eval_loss") == logged(runs[1], "eval_loss")
    assert same_bits(*(weights(trainer.model) for trainer in runs))


@pytest.mark.parametrize("step", [2, STEPS_BEFORE + 2])
def test_a_loss_that_is_not_finite_stops_before_the_update(make: Make, step: int) -> None:
    trainer = replaying(make(**QUIET))
    compute, spoilt = trainer.compute_loss, []

    def spoiling(*args: Any, **kwargs: Any) -> torch.Tensor:
        if trainer.state.global_step == step:
            spoilt.append(weights(trainer.model))
            with torch.no_grad():
                trainer.teacher.get_input_embeddings().weight.fill_(float("inf"))
        return compute(*args, **kwargs)

    trainer.compute_loss = spoiling  # type: ignore[method-assign]
    with pytest.raises(NonFiniteLossError, match=f"non-finite loss at step {step + 1}, .* no update was made"):
        trainer.train()
    assert same_bits(weights(trainer.model), spoilt[0])


def test_a_run_whose_replays_are_wrong_goes_on_without_and_says_so(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, static = make(**QUIET), replaying(make(**QUIET))
    usual.train()
    RunRecord(tmp_path / "run", arguments={})
    replay = Twin.replay

    def spoilt(self: Twin) -> None:
        replay(self)
        self.outputs[0].mul_(1.1)

    monkeypatch.setattr(Twin, "replay", spoilt)
    with pytest.warns(Notice, match="--cuda_graphs: the run goes on without"):
        static.train()
    assert same_bits(weights(static.model), weights(usual.model))
    found = json.loads((tmp_path / "run" / "run.json").read_text())["results"]["cuda_graphs"]
    assert found["replayed"] == []
    assert list(found["failed"]) == ["gradients"]


def test_run_json_says_what_is_replayed(make: Make, tmp_path: Path) -> None:
    RunRecord(tmp_path / "run", arguments={})
    replaying(make(**QUIET)).train()
    results = json.loads((tmp_path / "run" / "run.json").read_text())["results"]
    assert results["cuda_graphs"] == {"replayed": ["gradients", "update"], "failed": {}}
    assert "kernels" in results


def test_a_dry_run_times_replayed_steps(make: Make) -> None:
    trainer = replaying(make(**{**QUIET, "max_steps": 50}))
    steps = FirstSteps(trainer)
    trainer.train()
    assert trainer.state.global_step == STEPS_BEFORE + TIMED
    assert len(steps.result.seconds) == TIMED


def test_a_trainer_refuses_graphs_on_a_cpu(make: Make) -> None:
    with pytest.raises(InputError, match="--cuda_graphs: needs a GPU"):
        make(cuda_graphs=True)
