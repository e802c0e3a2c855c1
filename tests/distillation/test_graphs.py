"""Test that a step on static tensors trains as every other step; a twin stands for the CUDA graphs (see `replay`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from distilling.trainers import LANGUAGES, Make, logged, same_bits, weights
from random_sfts import random_sft
from transformers import XLMRobertaForMaskedLM

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
    "max_steps": STEPS_BEFORE + 2,
}
KEYS = ("loss", "grad_norm", "learning_rate", *(f"{one}/attention_0" for one in LANGUAGES))


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
        ({}, {"max_grad_norm": 0, "lr_scheduler_type": "cosine", "neftune_noise_alpha": 5.0}),
        ({"attention_loss": "kl", "hidden_loss": "cosine", "align_layers": "last"}, {"bf16": True}),
        ({"hidden_weight": "0", "relation_weight": "2", "published_losses": True}, {"teacher_dtype": "bfloat16"}),
    ],
)
def test_replayed_steps_give_the_bits_of_usual_steps(
    make: Make, teacher_folder: Path, losses: dict[str, Any], flags: dict[str, Any]
) -> None:
    teacher = XLMRobertaForMaskedLM.from_pretrained(teacher_folder)
    sfts = {one: random_sft(teacher, seed) for seed, one in enumerate(LANGUAGES)}
    keep = {"teacher_folder": teacher_folder, "language_sfts": sfts}
    usual, static = (make(LossArguments(**losses), keep=keep, **QUIET, **flags) for _ in range(2))
    for trainer in (usual, replaying(static)):
        torch.manual_seed(1)  # of the noise on embeddings
        trainer.train()
    assert static.static_step is not None
    assert static.static_step.as_record() == {"replayed": ["gradients", "update"], "failed": {}}
    assert same_bits(weights(static.model), weights(usual.model))
    assert same_bits(optimizer_state(static), optimizer_state(usual))
    for key in KEYS:
        assert len(logged(usual, key)) > 2
        assert logged(static, key) == logged(usual, key)
    groups = [trainer.optimizer.state_dict()["param_groups"] for trainer in (usual, static)]
    assert groups[0] == groups[1], "a checkpoint does not depend on graphs"


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


def test_checkpoints_are_the_same_and_are_resumed_with_and_without_graphs(make: Make, tmp_path: Path) -> None:
    flags = {"max_steps": 10, "eval_steps": 5}
    usual, static = (make(output_dir=str(tmp_path / name), **flags) for name in ("usual", "static"))
    usual.train()
    replaying(static).train()
    assert logged(static, "eval_loss") == logged(usual, "eval_loss")
    assert same_bits(weights(static.model), weights(usual.model))
    on, off = make(output_dir=str(tmp_path / "usual"), **flags), make(output_dir=str(tmp_path / "static"), **flags)
    for trainer in (replaying(on), off):
        trainer.train(resume_from_checkpoint=f"{trainer.args.output_dir}/checkpoint-5")
        assert trainer.state.global_step == 10
        assert same_bits(weights(trainer.model), weights(usual.model))


def test_a_second_training_records_anew(make: Make) -> None:
    usual, static = make(**QUIET), replaying(make(**QUIET))
    for trainer in (usual, usual, static):
        trainer.train()
    before = static.static_step
    static.train()
    assert static.static_step is not before
    assert same_bits(weights(static.model), weights(usual.model))


def test_a_loss_that_is_not_finite_stops_before_the_update(make: Make) -> None:
    trainer, step = replaying(make(**QUIET)), STEPS_BEFORE + 1
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


def test_gradients_stay_in_their_places_and_run_json_says_so(make: Make, tmp_path: Path) -> None:
    RunRecord(tmp_path / "run", arguments={})
    trainer, places = replaying(make(**QUIET)), list[list[int]]()
    step = trainer.training_step

    def noting(*args: Any, **kwargs: Any) -> torch.Tensor:
        found = step(*args, **kwargs)
        places.append([p.grad.data_ptr() for p in trainer.model.parameters() if p.grad is not None])
        return found

    trainer.training_step = noting  # type: ignore[method-assign]
    trainer.train()
    assert places[STEPS_BEFORE - 2] != places[STEPS_BEFORE - 1] == places[STEPS_BEFORE] == places[-1]
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
