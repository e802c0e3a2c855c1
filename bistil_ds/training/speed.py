"""Tokens per second, model FLOPs utilisation and energy since the last log line, and the peak memory so far."""

from __future__ import annotations

import resource
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from bistil_kernels.attention_map.windows import pairs_within
from torch import nn
from transformers import PretrainedConfig

from bistil_ds.distributed.startup import local_world_size
from bistil_ds.models.attention import attention_window
from bistil_ds.models.families import FAMILIES
from bistil_ds.models.inputs import feed_forward_width

if TYPE_CHECKING:
    from bistil_ds.training.energy import Counter

READ_SECONDS = 30.0  # read an energy counter this often, because it wraps around within minutes


def encoder_flops(config: PretrainedConfig, length: int, layers: int) -> float:
    """Return the FLOPs of one token's forward pass through the first `layers` layers, at `length` tokens of context.

    A multiply and an add are two operations. The count includes the four attention projections, the feed-forward
    matrices (three in gated families), scores and weighted values, but not embeddings, norms, activations and
    DeBERTa's products with relative positions. In layers with a sliding window, only scores within it count.
    """
    width, inner, heads = config.hidden_size, feed_forward_width(config), config.num_attention_heads
    family = FAMILIES.get(config.model_type)
    keys = width * (getattr(config, "num_key_value_heads", None) or heads) // heads  # width of keys, and of values
    matrices = 3 if family is not None and family.gated else 2
    seen = sum(pairs_within(attention_window(config, layer), length) for layer in range(layers)) / length
    return 2.0 * (layers * (2 * width * (width + keys) + matrices * width * inner) + 2 * width * seen)


def training_flops(student: nn.Module, teacher: nn.Module | None, length: int) -> float:
    """Return the FLOPs of training on a token: forward and backward of the student, forward of the teacher if any.

    A backward pass counts as two forward passes.
    """
    configs: list[Any] = [student.config] * 3 + ([] if teacher is None else [teacher.config])
    return sum(encoder_flops(each, length, each.num_hidden_layers) for each in configs)


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOP/s of a large matrix product, measured now; utilisation is a share of this rate."""
    size = 4096 if device.type == "cuda" else 1024
    a = torch.ones(size, size, device=device, dtype=dtype)  # random numbers would change the run's random state
    taken: list[float] = []
    # take the fastest, because other programs slow single products; stop early on a CPU without bf16, which takes long
    while len(taken) < 2 or (len(taken) < 20 and sum(taken) < 1.0):
        _synchronise(device)
        start = time.perf_counter()
        a @ a
        _synchronise(device)
        taken.append(time.perf_counter() - start)
    return 2.0 * size**3 / min(taken)


@cache
def ceiling_of(device: torch.device, dtype: torch.dtype) -> float:
    """Return `matmul_rate`, measured once in this process for each device and dtype."""
    return matmul_rate(device, dtype)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that this process has held so far: allocated on the GPU, or resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class SpeedMeter:
    """Meter that counts tokens between log lines and turns them into rates.

    Args:
        flops_per_token: FLOPs of training on one token, for the utilisation.
        device, dtype: where and in what precision the student computes.
        counter: an energy counter that covers the device; None measures no energy.
    """

    def __init__(
        self, flops_per_token: float, device: torch.device, dtype: torch.dtype, counter: Counter | None
    ) -> None:
        self.flops_per_token, self.device, self.counter = flops_per_token, device, counter
        self.ceiling = ceiling_of(device, dtype)
        self.restart()

    def restart(self) -> None:
        """Start a new interval; trainers call this after validation and saving, whose time must not count."""
        self.tokens = 0
        self.started: float | None = None
        self.joules: float | None = None

    def add(self, tokens: int) -> None:
        """Count one micro-step's tokens on this rank; call it before the micro-step runs."""
        now = time.perf_counter()
        if self.started is None:
            self.started = self.read = now
            self.joules = self.counter.joules() if self.counter else None
        elif self.counter is not None and now - self.read > READ_SECONDS:
            self.counter.joules()  # log lines may be too far apart for a counter that wraps around
            self.read = now
        self.tokens += tokens

    def drain(self, ranks: int) -> dict[str, float]:
        """Return the rates of this interval and start the next interval; return {} if no token was added.

        Returns:
            `tokens_per_second` of all ranks, `mfu` (as a share of one device's `matmul_rate`), `memory_gib` (peak of
            this process so far) and, with an energy counter, `joules_per_token`.
        """
        if self.started is None:
            return {}
        _synchronise(self.device)
        seconds = time.perf_counter() - self.started
        rate = self.tokens / seconds
        values = {"tokens_per_second": rate * ranks, "mfu": rate * self.flops_per_token / self.ceiling}
        values["memory_gib"] = peak_memory(self.device) / 2**30
        if self.counter is not None and self.joules is not None:
            values["joules_per_token"] = (self.counter.joules() - self.joules) / (self.tokens * local_world_size())
        self.restart()
        return values
