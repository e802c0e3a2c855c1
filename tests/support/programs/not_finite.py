"""Spoil losses, gradients or weights of the last rank, and check that every rank stops; test_not_finite.py runs this.

    python not_finite.py BASE FOLDER

It trains without DeepSpeed and at ZeRO 0 to 3. Rank 0 prints `ZERO PRECISION WHAT` for each run that went well.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import sparse_material as material
import torch
from torch import Tensor
from transformers import TrainerCallback
from transformers.utils import logging

from bistil_ds.distributed import startup
from bistil_ds.distributed.config import find_config
from bistil_ds.distributed.gathering import full_fp32
from bistil_ds.distributed.partitions import parts
from bistil_ds.errors import NonFiniteError
from bistil_ds.runs import checkpoints
from bistil_ds.training.base_trainer import BaseTrainer
from bistil_ds.training.finite_trainer import MOST_SKIPS, BatchLoss

SPOILT_STEP = 2  # the one before it is saved


class Overflow(torch.autograd.Function):
    """Identity with an infinite gradient."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor) -> Tensor:
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        return upstream[0] * math.inf


class Spoilt(material.TagTrainer):
    compute_loss = BaseTrainer.compute_loss

    def __init__(self, *args: Any, what: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.what, self.last = what, startup.rank() == startup.world_size() - 1
        self.starts: dict[str, Tensor] = {}
        self.add_callback(AtStep(self))

    def batch_loss(self, model: Any, inputs: dict[str, Any], micro_step: int, progress: float) -> BatchLoss:
        output = model(**inputs)
        loss = output.loss
        now = self.last and self.state.global_step == SPOILT_STEP - 1
        if self.what == "loss" and now and micro_step == 2:  # the first of two micro-steps
            loss = output.logits[:0].mean()  # NaN, with gradients of 0
        if (self.what == "gradient" and now) or self.what == "skips":
            loss = Overflow.apply(loss)
        return BatchLoss(loss, {"loss": loss.detach()}, "train", lambda: f"rows of batch {micro_step}")


class AtStep(TrainerCallback):
    def __init__(self, trainer: Spoilt) -> None:
        self.trainer = trainer

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.trainer.starts = weights(self.trainer)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer.what == "weights" and self.trainer.last and state.global_step == SPOILT_STEP:
            embeddings = self.trainer.model.get_input_embeddings().weight
            parts(embeddings)[0][0][0] = math.inf  # of the last rank's share only; no text holds the token


def weights(trainer: Any) -> dict[str, Tensor]:
    return {name: full_fp32(one) for name, one in trainer.model.named_parameters()}


def expected(what: str) -> str:
    """Return a pattern of this rank's message."""
    last = startup.world_size() - 1
    return {
        "loss": f"non-finite loss at step 2, micro-step 3, rank {last}, rows of batch 2",
        "gradient": rf"non-finite gradient norm \((inf|nan|-1.0)\) at step 2, rank {startup.rank()}, rows of batch 3",
        "weights": f"non-finite weights after step 2, rank {last}, rows of batch 3",
        "skips": f".* skipped {MOST_SKIPS} updates in a row, the last at step {MOST_SKIPS}, rank {startup.rank()}",
    }[what]


def run(base: Path, folder: Path, zero: int | None, precision: str, what: str) -> None:
    name = f"{zero} {precision} {what}"
    config = json.loads(find_config(f"zero{zero}").read_text()) if zero is not None else None
    if config and precision == "fp16":
        config["fp16"] |= {"initial_scale_power": 3, "hysteresis": 1, "min_loss_scale": 1}
    args = material.arguments(
        folder / name.replace(" ", "-"),
        max_steps=2 * MOST_SKIPS if what == "skips" else 3,
        gradient_accumulation_steps=1 if what == "skips" else 2,
        per_device_train_batch_size=2,
        save_steps=1,
        save_strategy="no" if what == "skips" else "steps",
        max_grad_norm=0.0 if what.endswith("unclipped") else 1.0,
        deepspeed=config,
        **({precision: True} if precision != "fp32" else {}),
    )
    trainer = Spoilt(material.load(base), args, what=what.split()[0], train_dataset=material.Tags(64))
    with pytest.raises(NonFiniteError, match=expected(what.split()[0])):
        trainer.train()
    if what == "skips":
        after = weights(trainer)
        assert all(torch.equal(after[one], start) for one, start in trainer.starts.items()), name
    else:
        first = Path(str(args.output_dir)) / "checkpoint-1"
        assert checkpoints.all_checkpoints(first.parent) == [first], name
        assert checkpoints.broken(first) is None, name
    if trainer.is_deepspeed_enabled:
        trainer.model_wrapped.destroy()
    trainer.accelerator.free_memory()
    startup.wait_for_every_rank()
    if startup.rank() == 0:
        print(name, flush=True)


def main(base: str, folder: str) -> None:
    logging.set_verbosity_error()
    startup.choose_accelerator()
    startup.prepare_environment(use_deepspeed=True)
    startup.start_distributed(use_deepspeed=True)
    from deepspeed.accelerator import get_accelerator

    get_accelerator().is_fp16_supported = lambda: True  # DeepSpeed does not offer fp16 on a CPU
    runs = [(zero, "fp32", what) for zero in (None, 0, 1, 2, 3) for what in ("loss", "gradient", "weights")]
    runs += [(0, "fp32", "gradient unclipped")]
    runs += [(zero, "bf16", "gradient") for zero in (0, 1, 2, 3)]
    runs += [(zero, "fp16", "skips") for zero in (0, 1, 2, 3)]
    for one in runs:
        run(Path(base), Path(folder), *one)
    startup.stop_distributed()


if __name__ == "__main__":
    main(*sys.argv[1:])
