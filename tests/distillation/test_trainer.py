"""Test phase 1 from Python: own data sets, own teacher, and `DistillationTrainer`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from distilling.trainers import LANGUAGES, Make, logged, same_bits, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import PreTrainedTokenizerFast

from bistil_ds.distillation.arguments import LossArguments
from bistil_ds.distillation.trainer import DistillationTrainer
from bistil_ds.errors import InputError, NonFiniteLossError
from bistil_ds.training.speed import training_flops


@pytest.mark.parametrize("packed", [True, False])
def test_training_lowers_the_loss_of_both_languages(make: Make, packed: bool) -> None:
    trainer = make(packed=packed, max_steps=30)
    trainer.train()
    for language in LANGUAGES:
        before, *_, after = logged(trainer, f"eval_{language}_loss")
        assert after < 0.8 * before
    mean = sum(logged(trainer, f"eval_{one}_loss")[-1] for one in LANGUAGES) / 2
    assert logged(trainer, "eval_loss")[-1] == pytest.approx(mean)


def test_tokens_and_flops_of_a_run_add_up(make: Make) -> None:
    trainer = make(packed=True, max_steps=3)
    trainer.train()
    ids_BT = trainer.train_dataset[LANGUAGES[0]][0]["input_ids"]
    tokens = 3 * trainer.args.per_device_train_batch_size * len(ids_BT)
    assert trainer.state.num_input_tokens_seen == tokens
    assert trainer.state.total_flos == tokens * training_flops(trainer.model, trainer.teacher, len(ids_BT))


def test_two_trainings_give_the_same_bits(make: Make, tmp_path: Path) -> None:
    losses = LossArguments(logit_weight="0.5", mlm_weight="0.5")
    runs = [make(losses, output_dir=str(tmp_path / name)) for name in "ab"]
    for trainer in runs:
        trainer.train()
    assert same_bits(*(weights(trainer.model) for trainer in runs))
    other = make(losses, output_dir=str(tmp_path / "c"), seed=7)
    other.train()
    assert not same_bits(weights(runs[0].model), weights(other.model))


def test_tensorboard_holds_every_term_and_the_vital_signs(make: Make, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    make(LossArguments(logit_weight="1", mlm_weight="1"), report_to="tensorboard").train()
    events = EventAccumulator(str(next((tmp_path / "board").rglob("events.*")).parent)).Reload()
    tags = set(events.Tags()["scalars"])
    vital = {"loss", "learning_rate", "grad_norm", "tokens_per_second", "memory_gib", "mfu"}
    assert {f"train/{name}" for name in vital} | {"eval/loss"} <= tags
    layers = [f"hidden_{i}" for i in range(3)] + [f"attention_{i}" for i in range(2)]
    for language in LANGUAGES:
        for term in ("loss", "hidden", "attention", "logit", "mlm", *layers):
            assert f"train/{language}/{term}" in tags
            assert f"eval/{language}_{term}" in tags
        assert f"eval/{language}_cosine_2" in tags
    rate = [event.value for event in events.Scalars("train/tokens_per_second")]
    assert len(rate) == 8
    assert min(rate) > 0
    shares = [event.value / rate for event, rate in zip(events.Scalars("train/mfu"), rate)]
    # FLOPs per token over the machine's ceiling, both constant
    assert shares == pytest.approx([shares[0]] * 8, rel=1e-4)


def test_logged_terms_are_means_of_the_micro_steps_since_the_last_line(make: Make, tmp_path: Path) -> None:
    rarely = {"eval_steps": 8, "save_steps": 8}  # a line ends before each checkpoint
    each, rare = (make(logging_steps=n, output_dir=str(tmp_path / str(n)), **rarely) for n in (1, 8))
    each.train()
    rare.train()
    for language in LANGUAGES:
        values = logged(each, f"{language}/hidden")
        assert len(values) == 4
        assert logged(rare, f"{language}/hidden") == pytest.approx([sum(values) / 4])


def test_a_non_finite_loss_stops_before_the_update(make: Make) -> None:
    trainer = make(gradient_accumulation_steps=2, eval_strategy="no", eval_on_start=False, load_best_model_at_end=False)
    steps, spoilt = trainer.compute_loss, []
    language, rows = trainer.batches().language_of(5), trainer.batches().rows_of(5)

    def spoiling(*args: Any, **kwargs: Any) -> torch.Tensor:
        if trainer.state.global_step == 2 and trainer._micro_step == (2, 0):  # now the sixth micro-step is next
            spoilt.append(weights(trainer.model))
            with torch.no_grad():
                trainer.distiller.teacher.get_input_embeddings().weight.fill_(float("nan"))
        return steps(*args, **kwargs)

    trainer.compute_loss = spoiling  # type: ignore[method-assign]
    with pytest.raises(NonFiniteLossError) as error:
        trainer.train()
    message = str(error.value)
    assert "step 3, micro-step 6, rank 0" in message
    assert f"language {LANGUAGES[language]}, rows {rows}" in message
    assert "'hidden': nan" in message
    assert same_bits(weights(trainer.model), spoilt[0])


def test_losses_on_masked_tokens_need_a_tokenizer(make: Make, tokenizer: PreTrainedTokenizerFast) -> None:
    trainer = make()
    with pytest.raises(InputError, match="processing_class"):
        DistillationTrainer(
            trainer.model,
            trainer.distiller.teacher,
            trainer.args,
            layer_map=[1, 3],
            train_dataset=trainer.train_dataset,
            losses=LossArguments(mlm_weight="1"),
        )


def test_several_gpus_of_one_process_are_not_shared_by_replicas(make: Make) -> None:
    first = make()
    first.args._n_gpu = 2  # pretends that the machine has two GPUs
    second = DistillationTrainer(
        first.model, first.distiller.teacher, first.args, layer_map=[1, 3], train_dataset=first.train_dataset
    )
    assert second.args.n_gpu == 1


@pytest.mark.parametrize("accumulation", [1, 4])
def test_the_gradient_is_the_mean_over_micro_steps(make: Make, accumulation: int) -> None:
    flags: dict[str, Any] = {"eval_strategy": "no", "eval_on_start": False, "load_best_model_at_end": False}
    flags |= {"optim": "sgd", "learning_rate": 1.0, "lr_scheduler_type": "constant", "max_grad_norm": 0}
    trainer = make(gradient_accumulation_steps=accumulation, max_steps=1, **flags)
    before = weights(trainer.model)
    trainer.train()
    checked = make()
    for batch in list(iter(checked.get_train_dataloader()))[:accumulation]:
        checked.terms(checked.model, batch, LANGUAGES[batch["language"]]).total.backward()
    name = "roberta.encoder.layer.0.output.dense.weight"
    mean = checked.model.get_parameter(name).grad / accumulation
    torch.testing.assert_close(before[name] - trainer.model.get_parameter(name), mean, rtol=1e-3, atol=1e-6)
    assert mean.abs().max() > 1e-3


@pytest.mark.parametrize(
    "losses",
    [
        LossArguments(hidden_weight="0", attention_weight="0", logit_weight="1", mlm_weight="0.5"),
        LossArguments(hidden_weight="0"),
        LossArguments(attention_loss="kl", align_layers="last"),
        LossArguments(hidden_weight="1:0", mlm_weight="0:1", published_losses=True),
    ],
)
def test_every_kind_of_loss_trains(make: Make, losses: LossArguments) -> None:
    trainer = make(losses, max_steps=40, eval_steps=40, learning_rate=2e-3)
    untouched = {name for name, p in trainer.model.named_parameters() if not p.requires_grad}
    before = weights(trainer.model)
    trainer.train()
    values = logged(trainer, "eval_loss")
    falls_to = 0.97 if losses.mlm_weight == "0:1" else 0.95  # validation weighs this loss by 1, early training by less
    assert values[-1] < falls_to * values[0]
    assert all(torch.equal(trainer.model.get_parameter(name), before[name]) for name in untouched)


@pytest.mark.parametrize("losses", [LossArguments(), LossArguments(logit_weight="1", mlm_weight="1")])
def test_gradient_checkpointing_trains_the_same(make: Make, tmp_path: Path, losses: LossArguments) -> None:
    plain, frugal = (
        make(losses, gradient_checkpointing=on, output_dir=str(tmp_path / str(on))) for on in (False, True)
    )
    plain.train()
    frugal.train()
    assert frugal.model.is_gradient_checkpointing
    assert logged(plain, "loss") == pytest.approx(logged(frugal, "loss"), rel=1e-6)
    assert logged(plain, "grad_norm") == pytest.approx(logged(frugal, "grad_norm"), rel=1e-4)


def test_bf16_trains_close_to_fp32(make: Make, tmp_path: Path) -> None:
    losses = LossArguments(logit_weight="1", mlm_weight="1")
    exact, rough = (make(losses, bf16=on, output_dir=str(tmp_path / str(on))) for on in (False, True))
    exact.train()
    rough.train()
    assert next(rough.model.parameters()).dtype == torch.float32
    assert logged(rough, "loss") != logged(exact, "loss")
    assert logged(rough, "loss") == pytest.approx(logged(exact, "loss"), rel=0.05)


def test_a_bf16_teacher_costs_little(make: Make) -> None:
    exact, rough = make().evaluate(), make(teacher_dtype="bfloat16").evaluate()
    assert rough["eval_loss"] != exact["eval_loss"]
    assert rough["eval_loss"] == pytest.approx(exact["eval_loss"], rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("losses", [LossArguments(), LossArguments(logit_weight="1", mlm_weight="1")])
def test_compiled_models_train_the_same_and_compile_once(make: Make, tmp_path: Path, losses: LossArguments) -> None:
    from torch._dynamo.utils import counters

    flags: dict[str, Any] = {"eval_on_start": False, "eval_strategy": "no", "load_best_model_at_end": False}
    plain = make(losses, output_dir=str(tmp_path / "plain"), **flags)
    plain.train()
    torch._dynamo.reset()
    counters.clear()
    fast = make(losses, output_dir=str(tmp_path / "fast"), torch_compile=True, compile_teacher=True, **flags)
    fast.train()
    assert logged(plain, "loss") == pytest.approx(logged(fast, "loss"), rel=1e-4)
    assert 0 < counters["stats"]["unique_graphs"] <= 12
