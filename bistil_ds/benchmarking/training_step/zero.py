"""Measure a training step, optimizer update included, under DeepSpeed at a ZeRO stage on ranks of this machine."""

from __future__ import annotations

import statistics
from typing import Any

import torch
import torch.distributed as dist

from bistil_ds.benchmarking.harness.peak_memory import Peak, peak_of
from bistil_ds.benchmarking.harness.ranks import on_ranks
from bistil_ds.benchmarking.harness.timing import Way, paired_ratio, time_in_turns
from bistil_ds.benchmarking.training_step.ways import WAYS, Shape, Steps, random_steps
from bistil_ds.distributed.config import find_config, read_config
from bistil_ds.training.speed import matmul_rate, training_flops

Measured = tuple[dict[str, list[float]], Peak, float, float]  # what `_measure` returns for a rank


def compare_under_zero(stage: int, ranks: int, shape: Shape, rounds: int, device: torch.device) -> dict[str, Any]:
    """Return a row for each of `WAYS`: seconds, tokens/s of all ranks, MFU, and the time divided by `floor`'s.

    A round takes as long as its slowest rank. MFU (model FLOPs utilisation) divides the operations a second by the rate
    that matrix products reach on a rank. The row of `ours` also has the peak memory of the rank with the highest peak.
    Both models are in fp32; the teacher is whole on every rank.
    """
    threads = max(1, torch.get_num_threads() // ranks)
    measured: list[Measured] = on_ranks(ranks, threads, _measure, stage, shape, rounds, device.type)
    seconds = {name: [max(all_) for all_ in zip(*(times[name] for times, *_ in measured))] for name in WAYS}
    rate, flops = statistics.mean(rate for _, _, rate, _ in measured), measured[0][3]
    rows: dict[str, Any] = {}
    for name, samples in seconds.items():
        each = shape.batch * shape.length / statistics.median(samples)
        rows[name] = {
            "stage": stage,
            "ranks": ranks,
            "seconds": samples,
            "tokens_per_second": each * ranks,
            "time_ratio": paired_ratio(samples, seconds["floor"]),
            "mfu": each * flops / rate,
        }
    most = max((peak for _, peak, *_ in measured), key=lambda peak: peak.peak)
    rows["ours"] |= most.in_mib()
    return rows


def _measure(stage: int, shape: Shape, rounds: int, kind: str) -> Measured:
    """Measure one rank.

    Returns:
        Way → seconds of each round; the peak memory of our way; the rate of a matrix product in FLOP/s; the FLOPs of
        training on one token.
    """
    device = torch.device(kind, torch.cuda.current_device()) if kind == "cuda" else torch.device(kind)
    steps: list[Steps] = []

    def build() -> Any:
        steps.append(_wrapped(stage, shape, device))
        way = steps[0].way("ours")
        way.prepare()
        return way.step

    peak = peak_of(build, 2)  # measured first, because the other ways would enlarge the heap
    (wrapped,) = steps
    ways = {name: _together(wrapped.way(name)) for name in WAYS}
    seconds = time_in_turns(ways, rounds, device)
    dist.barrier()
    rate = matmul_rate(device, torch.float32)  # all ranks measure at once, as they train at once
    return seconds, peak, rate, training_flops(wrapped.student, wrapped.teacher, shape.length)


def _together(way: Way) -> Way:
    """Return the same way with a barrier before its step, so that all ranks start the step together."""

    def prepare() -> None:
        way.prepare()
        dist.barrier()

    return Way(way.step, prepare)


def _wrapped(stage: int, shape: Shape, device: torch.device) -> Steps:
    """Return the ways with the student's encoder in a DeepSpeed engine, which has the package's settings of `stage`."""
    import deepspeed

    steps = random_steps(shape, device)
    config = {"train_micro_batch_size_per_gpu": shape.batch}
    config |= _decided(read_config(find_config(f"zero{stage}")))
    encoder = steps.student.base_model
    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    wrapped, *_ = deepspeed.initialize(model=encoder, optimizer=torch.optim.AdamW(trained, lr=1e-5), config=config)
    steps.under(wrapped)
    return steps


def _decided(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration without its "auto" values, for which DeepSpeed then uses its defaults.

    Only transformers' Trainer can replace "auto".
    """
    whole = {key: _decided(value) if isinstance(value, dict) else value for key, value in config.items()}
    return {key: value for key, value in whole.items() if value != "auto"}
