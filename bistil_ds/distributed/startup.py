"""Start-up of one rank: environment and process group. Everything before the first model is loaded."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


def rank() -> int:
    """This process's rank in the run, 0 when it runs alone."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Number of processes in the run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_world_size() -> int:
    """Number of this run's processes on this machine, as far as the launcher says."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or world_size())


def choose_accelerator() -> None:
    """Tell DeepSpeed where there is no GPU, before anything imports it: it warns about what it finds out by itself."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")


def prepare_environment(use_deepspeed: bool) -> None:
    """Set what a rank started by plain `python`, or without a GPU, needs before it joins the others."""
    if use_deepspeed and "RANK" not in os.environ:
        alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
        os.environ.update(alone, MASTER_PORT=str(free_port()))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    else:
        _prepare_cpu(use_deepspeed)


def _prepare_cpu(use_deepspeed: bool) -> None:
    local = local_world_size()
    if "OMP_NUM_THREADS" not in os.environ and local > 1:  # else every rank takes every core
        torch.set_num_threads(max(1, torch.get_num_threads() // local))
    if use_deepspeed:
        import deepspeed.ops

        # its shared-memory collectives are compiled with g++ for a minute; gloo does the same work
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def start_distributed(use_deepspeed: bool, timeout: timedelta = timedelta(minutes=30)) -> None:
    """Join the other ranks; ranks that wait here for rank 0's preparation wait as long as it takes."""
    if "RANK" not in os.environ or dist.is_initialized():
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # torchrun has a store there already
    store: dist.Store = dist.TCPStore(
        address, port, world_size(), is_master=rank() == 0 and not agent, timeout=timedelta(days=7)
    )
    if agent:
        store = dist.PrefixStore(f"bistil_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(backend, store=store, rank=rank(), world_size=world_size(), timeout=timeout)
    if use_deepspeed:
        import deepspeed

        deepspeed.init_distributed(dist_backend=backend, verbose=False)  # else ZeRO-3 loading believes it is alone


def from_rank_0(value: T | None) -> T:
    """Rank 0's value, on every rank."""
    box = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(box, src=0)
    assert box[0] is not None
    return box[0]


def from_every_rank(value: T) -> list[T]:
    """Each rank's value, on every rank."""
    values: list[Any] = [value] * world_size()
    if dist.is_initialized():
        dist.all_gather_object(values, value)
    return values


def add_over_ranks(value: torch.Tensor) -> None:
    """Replace `value`, in place, by its sum over the ranks."""
    if dist.is_initialized():
        dist.all_reduce(value)


def wait_for_every_rank() -> None:
    """Return once every rank has come here."""
    if dist.is_initialized():
        dist.barrier()


def stop_distributed() -> None:
    """Leave the process group, so that the launcher sees a clean end."""
    if dist.is_initialized():
        dist.destroy_process_group()


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
