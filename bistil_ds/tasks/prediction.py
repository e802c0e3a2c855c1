"""Run a task model over a whole data set, on any number of ranks, and collect its answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from bistil_ds.console.progress import progress_bar
from bistil_ds.distributed.startup import from_every_rank
from bistil_ds.tasks.data import TaskData


@torch.no_grad()
def predict(
    model: nn.Module,
    data: TaskData,
    labels: Sequence[str],
    *,
    batch_size: int,
    device: torch.device,
    pad_token_id: int,
    rank: int = 0,
    world_size: int = 1,
    progress: str | None = None,
) -> list[Any]:
    """Return the answer for each of `data.examples`, in their order; every rank returns the same list.

    Rows of about the same length share a batch. Rank r runs batches r, r + `world_size`, r + 2·`world_size` and so on.
    All ranks run equally many batches, because ZeRO-3 needs all of them in each forward pass; a rank without a batch of
    its own repeats the last one. The model is left in evaluation mode.

    Args:
        model: a task model on `device`, or the DeepSpeed engine that wraps it.
        batch_size: rows in a batch of one rank.
        progress: the title of a progress bar; None shows no bar.
    """
    model.eval()
    task, rows = data.task, data.rows
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]["input_ids"]))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    found: dict[int, Any] = {}
    turns = range(-(-len(batches) // world_size))
    for turn in progress_bar(turns, progress, leave=False, show=progress is not None and rank == 0, unit="batch"):
        mine = turn * world_size + rank
        indices = batches[min(mine, len(batches) - 1)]
        batch = {k: v.to(device) for k, v in task.collate([rows[i] for i in indices], pad_token_id).items()}
        predictions = task.predict(model(**batch), batch)
        if mine < len(batches):
            found.update(zip(indices, predictions, strict=True))
    if world_size > 1:
        found = {index: one for part in from_every_rank(found) for index, one in part.items()}
    rows_of: list[list[int]] = [[] for _ in data.examples]
    for index, row in enumerate(rows):
        rows_of[row["example"]].append(index)
    return [
        task.decide(example, [rows[i] for i in mine], [found[i] for i in mine], labels)
        for example, mine in zip(data.examples, rows_of, strict=True)
    ]
