"""Make ZeRO-3 engines, which partition weights, for models that only run forward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import Trainer
from transformers.integrations.deepspeed import deepspeed_init

FOLLOWED = ("stage", "offload_param", "stage3_prefetch_bucket_size", "stage3_param_persistence_threshold")


def inference_engine(model: nn.Module, zero_optimization: dict[str, Any], dtype: torch.dtype) -> nn.Module:
    """Wrap a frozen model in its own ZeRO-3 engine, in `dtype` and eval mode.

    Args:
        zero_optimization: the section of this name in the training's DeepSpeed configuration, with stage 3. The engine
            copies the settings that `FOLLOWED` names, unless their value is "auto".
    """
    import deepspeed

    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": {k: v for k, v in zero_optimization.items() if k in FOLLOWED and v != "auto"},
        "bf16": {"enabled": dtype == torch.bfloat16},
        "fp16": {"enabled": dtype == torch.float16},
        "steps_per_print": 1_000_000_000,
    }
    engine, *_ = deepspeed.initialize(model=model, config=config)
    engine.eval()
    running: nn.Module = engine
    return running


@contextmanager
def evaluation_engine(trainer: Trainer) -> Iterator[nn.Module]:
    """Yield a ZeRO-3 engine around the model of a trainer that has not begun to train.

    Such a trainer has no engine of its own yet. The yielded engine is destroyed after the block.
    """
    deepspeed_init(trainer, num_training_steps=0, inference=True)
    engine = trainer.accelerator.prepare(trainer.model)
    try:
        yield engine
    finally:
        engine.destroy()
        trainer.accelerator.free_memory()
