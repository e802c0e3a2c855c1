"""Choose which kernels are measured at which sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

import torch

from bistil_ds.benchmarking.kernels.case import KernelCase
from bistil_ds.benchmarking.kernels.losses import attention_map, hidden_state, linear_kl, logits_kl
from bistil_ds.benchmarking.kernels.updates import MBERT, SMALL, Shapes, adamw, gathering, selecting, swapping

BATCHES = ((8, 256), (32, 256), (64, 512))  # sequences, tokens
CPU_BATCHES = ((2, 64), (2, 128), (4, 256))
CPU_VOCABULARY = 8_000
WIDTHS = (768, 1024)
VOCABULARIES = (30_000, 250_000)
DENSITIES = (0.01, 0.043, 0.08)
MASKED = 0.15  # the share of positions that masked language modelling predicts


def cases(device: torch.device, quick: bool) -> list[KernelCase]:
    """Return the cases in the order in which they are measured: few with `quick`, few and small on a CPU.

    All cases on a GPU come in turns, so that a run that ends early has measured every kernel.
    """
    if device.type == "cuda":
        return list(_few(device, torch.bfloat16, [BATCHES[0]], MBERT)) if quick else in_turns(_all(device))
    return list(_few(device, torch.float32, CPU_BATCHES[: 1 if quick else None], SMALL))


def in_turns(planned: Iterable[KernelCase]) -> list[KernelCase]:
    """Return the cases in rounds: each round has the next case of every kernel, and those with an aim come first."""
    by_kernel: dict[str, list[KernelCase]] = {}
    for case in sorted(planned, key=lambda case: not case.aims):
        by_kernel.setdefault(case.kernel, []).append(case)
    return [case for turn in zip_longest(*by_kernel.values()) for case in turn if case is not None]


def _all(device: torch.device) -> Iterator[KernelCase]:
    half = torch.bfloat16
    for width in WIDTHS:
        for batch in BATCHES:
            for kind in ("mse", "cosine"):
                yield hidden_state(*batch, width, half, device, kind)
            yield attention_map(*batch, width, half, device, "mse")
    for batch in (BATCHES[0], BATCHES[-1]):
        yield hidden_state(*batch, WIDTHS[0], half, device, "projected")
        yield attention_map(*batch, WIDTHS[0], half, device, "kl")
    positions = [int(MASKED * BATCHES[0][0] * BATCHES[0][1]), *(B * T for B, T in BATCHES)]
    for vocabulary in VOCABULARIES:
        for N in positions:
            yield logits_kl(N, vocabulary, half, device)
            for width in WIDTHS:
                yield linear_kl(N, vocabulary, width, half, device)
    for density in DENSITIES:
        for dtype in (half, torch.float32):
            yield adamw(MBERT, density, dtype, device)
        yield gathering(MBERT, density, half, device)
        yield swapping(MBERT, density, half, device)
        yield selecting(MBERT, density, torch.float32, device)


def _few(
    device: torch.device, dtype: torch.dtype, batches: Sequence[tuple[int, int]], shapes: Shapes
) -> Iterator[KernelCase]:
    for batch in batches:
        for kind in ("mse", "cosine"):
            yield hidden_state(*batch, WIDTHS[0], dtype, device, kind)
        yield attention_map(*batch, WIDTHS[0], dtype, device, "mse")
    N = int(MASKED * batches[-1][0] * batches[-1][1])
    vocabulary = VOCABULARIES[0] if device.type == "cuda" else CPU_VOCABULARY
    yield logits_kl(N, vocabulary, dtype, device)
    yield linear_kl(N, vocabulary, WIDTHS[0], dtype, device)
    for update in (adamw, gathering, swapping, selecting):
        yield update(shapes, DENSITIES[-1], dtype, device)
