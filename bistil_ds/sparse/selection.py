"""Select the K entries that the sparse stage trains: those that moved most, or random ones (the control)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bistil_kernels import top_k_delta
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bistil_ds.console.progress import progress_bar
from bistil_ds.distributed.gathering import share_fp32
from bistil_ds.distributed.partitions import full_size, is_partitioned
from bistil_ds.distributed.startup import add_over_ranks, from_every_rank, rank, world_size
from bistil_ds.errors import InputError
from bistil_ds.runs.files import read_json
from bistil_ds.sparse.base_weights import BaseWeights
from bistil_ds.sparse.maskable import maskable_parameters

Selection = dict[str, Tensor]  # parameter name → flat row-major indices, ascending, on the CPU

FILE, DESCRIPTION = "selection.safetensors", "selection.json"
ABOVE_ALL = torch.finfo(torch.float32).max / 2  # used as the change of kept entries: finite, but above any real change


def moved_most(
    model: nn.Module, base_folder: str | Path, k: int, kept: Mapping[str, Tensor] | None = None
) -> Selection:
    """Select `k` entries: first those `kept` from earlier iterations, then the maskable ones with largest |θ1 − θ0|.

    θ1 are the weights of `model`, θ0 those in `base_folder`, compared in fp32. Ties go to the first parameter name,
    then to the lowest flat index. Call it on every rank; at ZeRO-3 each rank compares its own part of the weights. The
    result does not depend on the number of ranks or the ZeRO stage.

    Raises:
        InputError: there are fewer than `k` maskable entries; the folder lacks a weight or has it in another shape; or
            weights are not finite.
    """
    parameters = maskable_parameters(model)
    _check(parameters, k)
    base, kept = BaseWeights(model, base_folder), kept or {}
    bar = progress_bar(parameters.items(), "comparing with the start", delay=2, leave=False)
    pairs, firsts = [], []
    for name, parameter in bar:
        after, first = share_fp32(parameter)
        before = base.of(name, parameter)[first : first + len(after)].to(after.device, torch.float32)
        if (earlier := kept.get(name)) is not None:
            here = earlier[(earlier >= first) & (earlier < first + len(after))].long() - first
            after, before = (x.index_fill(0, here.to(x.device), v) for x, v in ((after, ABOVE_ALL), (before, 0.0)))
        pairs.append((after, before))
        firsts.append(first)
    partitioned = any(map(is_partitioned, parameters.values()))
    ranks: dict[str, Any] = {}
    if partitioned:
        ranks = {"all_reduce": add_over_ranks, "rank": rank(), "world_size": world_size()}
    try:
        chosen = top_k_delta(pairs, k, **ranks)
    except ValueError as error:
        raise InputError(
            f"the full stage ended with weights that are not finite: lower --learning_rate ({error})"
        ) from None
    ours = [index.cpu().long() + first for index, first in zip(chosen, firsts)]
    everyone = from_every_rank(ours) if partitioned else [ours]
    return _selection(parameters, [torch.cat(each) for each in zip(*everyone)])


def random_entries(model: nn.Module, k: int, seed: int) -> Selection:
    """Draw `k` maskable entries, the same on every rank; every set of `k` entries is equally likely.

    Raises:
        InputError: there are fewer than `k` maskable entries.
    """
    parameters = maskable_parameters(model)
    _check(parameters, k)
    ends = [0, *accumulate(map(full_size, parameters.values()))]
    chosen = _draw(ends[-1], k, np.random.default_rng(seed))
    bounds = np.searchsorted(chosen, ends)
    pieces = [chosen[low:high] - start for low, high, start in zip(bounds, bounds[1:], ends)]
    return _selection(parameters, [torch.from_numpy(piece) for piece in pieces])


def _draw(size: int, k: int, draw: np.random.Generator) -> np.ndarray:
    """Draw `k` distinct numbers from 0 … size − 1, ascending, in memory that grows with `k` and not with `size`.

    Draw as many numbers as are missing, drop duplicates, and repeat until there are `k`. If `k` is more than half of
    `size`, draw the numbers to leave out instead.
    """
    if 2 * k > size:
        rest = np.ones(size, bool)
        rest[_draw(size, size - k, draw)] = False
        return np.flatnonzero(rest)
    chosen = np.empty(0, np.int64)
    while len(chosen) < k:
        chosen = np.union1d(chosen, draw.integers(0, size, k - len(chosen)))
    return chosen


def write_selection(folder: Path, selection: Selection, description: Mapping[str, Any]) -> None:
    """Write a selection and its description to `folder`. Call it on one rank."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(selection, folder / FILE)
    (folder / DESCRIPTION).write_text(json.dumps(dict(description), indent=1) + "\n", encoding="utf-8")


def read_selection(folder: Path) -> tuple[Selection, dict[str, Any]]:
    """Return the selection and the description that `write_selection` wrote.

    Raises:
        InputError: the description is missing or damaged.
    """
    return load_file(folder / FILE), read_json(folder / DESCRIPTION, "start the run anew")


def _check(parameters: Mapping[str, nn.Parameter], k: int) -> None:
    if k > (maskable := sum(map(full_size, parameters.values()))):
        raise InputError(f"{k} entries are to be trained, but the base model has {maskable} without its layer norms")


def _selection(parameters: Mapping[str, nn.Parameter], indices: list[Tensor]) -> Selection:
    return {
        name: index.to(torch.int32 if full_size(parameter) <= torch.iinfo(torch.int32).max else torch.int64)
        for (name, parameter), index in zip(parameters.items(), indices)
        if len(index)
    }
