"""Test that a DeepSpeed file is refused in one line, before anything is built, where DeepSpeed could not use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bistil_ds.distillation.arguments import DistillationArguments
from bistil_ds.distributed.config import training_config, zero_stage
from bistil_ds.errors import InputError
from bistil_ds.training.arguments import check_training_arguments
from bistil_ds.training.request import TrainingRequest, with_defaults

ZERO_2 = {"zero_optimization": {"stage": 2}, "train_micro_batch_size_per_gpu": "auto"}
SHIPPED = ("zero0", "zero1", "zero2", "zero2_offload", "zero3", "zero3_offload")


def zero(**settings: Any) -> dict[str, Any]:
    return {"zero_optimization": {"stage": 2, **settings}, "train_micro_batch_size_per_gpu": "auto"}


def optimizer(name: str, **params: Any) -> dict[str, Any]:
    return {**ZERO_2, "optimizer": {"type": name, "params": {"lr": "auto", **params}}}


def check(config: dict[str, Any] | str, folder: Path, **flags: Any) -> None:
    path = folder / "ds.json"
    if isinstance(config, dict):
        path.write_text(json.dumps(config), encoding="utf-8")
    given = {"output_dir": "nowhere", "report_to": "none", "learning_rate": 1e-4, "max_steps": 10, **flags}
    given["deepspeed"] = config if isinstance(config, str) else str(path)
    check_training_arguments(TrainingRequest(DistillationArguments, with_defaults([DistillationArguments], given)), {})


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_passes_with_any_precision_and_number_of_ranks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    check(name, tmp_path)
    check(name, tmp_path, bf16=True, gradient_accumulation_steps=2, warmup_steps=2)


@pytest.mark.parametrize(
    "config",
    [
        ZERO_2,
        {**ZERO_2, "train_batch_size": 24, "train_micro_batch_size_per_gpu": 8},
        {**ZERO_2, "steps_per_print": 10, "wall_clock_breakdown": False, "prescale_gradients": True},
        {**ZERO_2, "tensorboard": {"enabled": False}, "flops_profiler": {"enabled": False}, "aio": {}},
        {**ZERO_2, "activation_checkpointing": {}, "checkpoint": {"tag_validation": "Warn"}, "comms_logger": {}},
        {**ZERO_2, "scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": "auto"}}},
        {**optimizer("SGD"), "zero_allow_untested_optimizer": True},
        optimizer("Adagrad"),
        zero(offload_optimizer={"device": "none"}),
        zero(stage=3, offload_param={"device": "nvme", "nvme_path": "/nowhere"}),
        zero(stage3_max_live_parameters="auto"),
    ],
)
def test_what_deepspeed_takes_passes(config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    check(config, tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"train_micro_batch_size_per_gpu": "auto"}, "has no zero_optimization"),
        ({"zero_optimization": {"stage": 2}}, "train_micro_batch_size_per_gpu needs to be provided"),
        (zero(cpu_offload=True), "zero_optimization.cpu_offload: is an old name; write offload_optimizer"),
        (zero(cpu_offload_param=True), "cpu_offload_param: is an old name; write offload_param"),
        (optimizer("OneBitAdam"), "optimizer.type is OneBitAdam, which DeepSpeed does not have"),
        (optimizer("SGD"), "optimizer.type is SGD, which DeepSpeed has not tested with ZeRO"),
        (optimizer("AdamW", no_such=1), "no_such"),
        (optimizer("AdamW", max_grad_norm=1.0), "gradient_clipping"),
        ({**ZERO_2, "optimizer": "AdamW"}, "optimizer is 'AdamW'; expected an object of settings"),
        ({**ZERO_2, "optimizer": {"params": {}}}, "optimizer.type is None"),
        ({**ZERO_2, "scheduler": {"type": "NoSuchLR", "params": {}}}, "NoSuchLR"),
        ({**ZERO_2, "scheduler": {"type": "WarmupLR"}}, "wrong type"),
        ({**ZERO_2, "scheduler": {"type": "WarmupLR", "params": {"no_such": 1}}}, "no_such"),
        ({**ZERO_2, "zero_optimisation": {}}, "zero_optimisation: DeepSpeed has no such setting"),
        (zero(no_such=1), "no_such: Extra inputs are not permitted"),
        (zero(overlap_comm="maybe"), "overlap_comm: Input should be a valid boolean"),
        (zero(offload_optimizer={"device": "tape"}), "offload_optimizer.device: Input should be 'none', 'cpu' or"),
        (zero(allgather_bucket_size="auto"), 'zero_optimization.allgather_bucket_size is "auto", which nobody fills'),
        ({**ZERO_2, "communication_data_type": "fp99"}, "fp99"),
        ({**ZERO_2, "data_types": {"grad_accum_dtype": "fp99"}}, "fp99"),
        (zero(stage=3, offload_param={"device": "nvme"}), 'offload_param: offloads to nvme; add "nvme_path"'),
        (zero(stage=3, offload_optimizer={"device": "nvme"}), 'offload_optimizer: offloads to nvme; add "nvme_path"'),
        (zero(offload_optimizer={"device": "nvme", "nvme_path": "/nowhere"}), "to nvme, which stage 3 alone does"),
        (zero(stage=1, offload_optimizer={"device": "nvme"}), "to nvme, which stage 3 alone does; write cpu"),
        (zero(offload_param={"device": "cpu"}), "offload_param: stage 2 offloads none; leave it out, or use stage 3"),
        (zero(stage=0, offload_optimizer={"device": "cpu"}), "offload_optimizer: stage 0 offloads none"),
        ({**ZERO_2, "pipeline": {"stages": 2}}, "pipeline: models are cut over ranks by ZeRO only"),
        ({**ZERO_2, "tensor_parallel": {"autotp_size": 2}}, "tensor_parallel: models are cut over ranks by ZeRO only"),
        ({**ZERO_2, "amp": {"enabled": True}}, "AMP"),
        ({**ZERO_2, "checkpoint": {"tag_validation": "no_such"}}, "tag_validation"),
    ],
)
def test_what_deepspeed_would_refuse_later_is_refused_at_once(
    config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        check(config, tmp_path)
    assert str(error.value).startswith(f"--deepspeed {tmp_path / 'ds.json'}: ")
    assert message in str(error.value)


def test_a_flag_that_the_file_replaces_is_refused(tmp_path: Path) -> None:
    scheduled = {**ZERO_2, "scheduler": {"type": "WarmupLR", "params": {}}}
    with pytest.raises(InputError, match="names the optimizer, so that --optim has no effect"):
        check(optimizer("AdamW"), tmp_path, optim="sgd")
    with pytest.raises(InputError, match="names the scheduler, so that --lr_scheduler_type has no effect"):
        check(scheduled, tmp_path, lr_scheduler_type="cosine")


def test_an_optimizer_that_cannot_be_offloaded_is_refused(tmp_path: Path) -> None:
    offloaded = zero(offload_optimizer={"device": "cpu"})
    check(offloaded, tmp_path)
    with pytest.raises(InputError, match="--optim adafactor cannot be offloaded"):
        check(offloaded, tmp_path, optim="adafactor")


@pytest.mark.parametrize("asked", [None, False, True])
def test_at_zero_3_weights_are_gathered_for_the_student_whatever_the_file_says(
    asked: bool | None, tmp_path: Path
) -> None:
    name = "stage3_gather_16bit_weights_on_model_save"
    path = tmp_path / "ds.json"
    path.write_text(json.dumps(zero(stage=3, **({} if asked is None else {name: asked}))), encoding="utf-8")
    config = training_config(str(path))
    assert config is not None
    assert config["zero_optimization"][name] is True
    assert zero_stage(str(path)) == 3
    assert (training_config(None), zero_stage(None)) == (None, None)
