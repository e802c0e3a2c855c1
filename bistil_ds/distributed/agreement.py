"""Tell every rank what only one rank has noticed, so that all act on it at the same point of the program."""

from __future__ import annotations

import torch
import torch.distributed as dist


def on_any_rank(flag: bool) -> bool:
    """Return, on every rank, whether `flag` is true on at least one; every rank must call this.

    Where the process group has a CPU backend, the ranks compare on the CPU, so that no rank waits for its GPU.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return flag
    device = "cpu" if "cpu:" in str(dist.get_backend_config()) else "cuda"
    raised = torch.tensor([int(flag)], dtype=torch.int32, device=device)
    dist.all_reduce(raised, op=dist.ReduceOp.MAX)
    return bool(raised.item())
