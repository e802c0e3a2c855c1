"""`--cuda_graphs`: the flag, and which runs cannot have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.training.schedule import Weight

HELP = "Replay the step as CUDA graphs, for small batches on one GPU; without DeepSpeed."
OPTIMIZER = "adamw_torch_fused"

COMPILED = "compiled code has graphs of its own, and may be compiled again in any step"
RECOMPUTED = "recomputing activations reads random states on the host"
# Flag → why it does not go with graphs.
LEFT_OUT = {
    "deepspeed": "its engine reads norms and overflows on the host in the middle of a step",
    "fp16": "its loss scaler decides on the host whether to update; take --bf16",
    **dict.fromkeys(("gradient_checkpointing", "activation_checkpointing"), RECOMPUTED),
    **dict.fromkeys(("torch_compile", "torch_compile_backend", "torch_compile_mode", "compile_teacher"), COMPILED),
    "torch_empty_cache_steps": "a graph keeps its memory",
}
OF_OUTPUTS = ("logit_weight", "mlm_weight")


def graphs_field() -> Any:
    """Return the field of a flags dataclass that defines `--cuda_graphs`."""
    return field(default=False, metadata={"help": HELP})


def check_graphs(flags: Mapping[str, Any], *, on_gpu: bool, ranks: int) -> None:
    """Raise InputError if the flags ask for graphs, and graphs cannot hold this run.

    Args:
        flags: flag → value.
        on_gpu: whether the run is on a GPU.
        ranks: number of ranks.
    """
    if not flags.get("cuda_graphs"):
        return
    if not on_gpu:
        raise InputError("--cuda_graphs: needs a GPU; leave it out")
    if ranks > 1:
        raise InputError(f"--cuda_graphs: is for one rank, and this run has {ranks}; leave it out")
    for name, reason in LEFT_OUT.items():
        if value := flags.get(name):
            raise _refusal(name, value, reason)
    steps, optimizer = flags["gradient_accumulation_steps"], flags["optim"]
    if steps > 1:
        larger = steps * flags["per_device_train_batch_size"]
        raise _refusal("gradient_accumulation_steps", steps, f"take --per_device_train_batch_size {larger}")
    if getattr(optimizer, "value", optimizer) != OPTIMIZER:
        raise _refusal("optim", getattr(optimizer, "value", optimizer), f"only {OPTIMIZER} is recorded")
    for name in OF_OUTPUTS:
        if Weight.parse(value := flags[name], name).used:
            raise _refusal(name, value, "the number of masked tokens differs from batch to batch")


def _refusal(name: str, value: Any, reason: str) -> InputError:
    given = f"--{name}" if value is True else f"--{name} {value}"
    return InputError(f"{given}: does not go with --cuda_graphs: {reason}")
