"""Start one rank: set its environment and join the process group. Do both before loading the model to train."""

from __future__ import annotations

import json
import os
import random
import socket
from contextlib import suppress
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

from bistil_ds.errors import InputError, OtherRankError
from bistil_ds.runs.bounded import parse_json

T = TypeVar("T")
PATIENCE = timedelta(days=7)  # how long ranks wait for one that prepares, builds or saves
REACHED = timedelta(minutes=30)  # and for a rank to start; torch's default

_opened = count()  # numbers the process groups that are made in torchrun's store
_patient: dict[str, Any] = {}  # the group of `_patient_group`, and the process group that it belongs to


def rank() -> int:
    """Return this process's rank in the run; 0 if it is the only process."""
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Return the number of processes in the run."""
    return dist.get_world_size() if dist.is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))


def local_world_size() -> int:
    """Return the number of this run's processes on this machine, or on all machines if the launcher does not say."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or world_size())


def complete_variables() -> None:
    """Set LOCAL_RANK, and LOCAL_WORLD_SIZE with it, if the launcher gave this rank none, such as Kubeflow's.

    Such a launcher starts one rank a machine. Libraries that find no LOCAL_RANK would train each rank by itself.
    """
    if "RANK" in os.environ and "LOCAL_RANK" not in os.environ:
        os.environ["LOCAL_RANK"] = "0"
        os.environ.setdefault("LOCAL_WORLD_SIZE", "1")


def choose_accelerator() -> None:
    """Tell DeepSpeed to use the CPU if there is no GPU; DeepSpeed would find that out itself, but print a warning.

    Call it before anything imports DeepSpeed.
    """
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")


def prepare_environment(use_deepspeed: bool) -> None:
    """Set what a rank needs before it joins the others: environment variables, device, threads.

    Under DeepSpeed, a rank started by plain `python` gets the variables of a run with one rank. On a machine with GPUs,
    a rank selects its own GPU. On a machine without GPUs, a rank uses its share of the threads, unless OMP_NUM_THREADS
    is set.

    Raises:
        InputError: this rank sees fewer GPUs than its LOCAL_RANK needs.
    """
    if use_deepspeed and "RANK" not in os.environ:
        alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
        os.environ.update(alone, MASTER_PORT=str(free_port()))
    if torch.cuda.is_available():
        torch.cuda.set_device(_own_gpu())
    else:
        _prepare_cpu(use_deepspeed)


def _own_gpu() -> int:
    """Return the index of this rank's GPU. DeepSpeed and accelerate take LOCAL_RANK, too, so it must be right."""
    local, seen = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= seen:
        raise InputError(
            f"LOCAL_RANK {local}: this rank sees {seen} GPU{'s' * (seen > 1)}; let each rank see all GPUs of its "
            "machine (srun: --gpus-per-node, not --gpus-per-task), or set LOCAL_RANK=0 where each sees only its own"
        )
    return local


def _prepare_cpu(use_deepspeed: bool) -> None:
    local = local_world_size()
    if "OMP_NUM_THREADS" not in os.environ and local > 1:  # otherwise every rank would take every core
        torch.set_num_threads(max(1, _all_threads() // local))
    if use_deepspeed:
        import deepspeed.ops

        # DeepSpeed compiles its shared-memory collectives with g++ for a minute; gloo does the same work.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        # As DeepSpeed's launcher does. Without LOCAL_SIZE, ZeRO-3 starts numactl for each gradient that it averages.
        os.environ.setdefault("LOCAL_SIZE", str(local))


@cache
def _all_threads() -> int:
    """Return the number of threads that this process had at the first call, before a run reduced the number."""
    return torch.get_num_threads()


def start_distributed(use_deepspeed: bool, timeout: timedelta = timedelta(minutes=30)) -> None:
    """Join the other ranks; do nothing without the variable RANK.

    Rank 0 calls this after it has prepared the run. The other ranks wait here for rank 0, for up to seven days, also if
    an earlier run made the process group. From then on, `timeout` limits each collective of the process group and of
    the groups that DeepSpeed makes; `wait_for_every_rank` and `from_rank_0` wait for seven days still.

    Raises:
        OtherRankError: on rank 0, half an hour after it came: a rank has not started.
    """
    if "RANK" not in os.environ:
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    # DeepSpeed names no timeout for its groups, so that they get torch's default.
    distributed_c10d.default_pg_timeout = distributed_c10d.default_pg_nccl_timeout = timeout
    if not dist.is_initialized():
        _wait_for_start()
        from_rank_0_early("bistil_prepared", True)
        dist.init_process_group(backend, store=open_store(), rank=rank(), world_size=world_size(), timeout=timeout)
        open_store.cache_clear()
    wait_for_every_rank()
    if use_deepspeed:
        import deepspeed

        deepspeed.init_distributed(dist_backend=backend, verbose=False)  # else ZeRO-3 assumes 1 rank in loading


def _wait_for_start() -> None:
    """Tell rank 0 that this rank has started; on rank 0, return once every rank has."""
    store, keys = open_store(), [f"bistil_started_{other}" for other in range(world_size())]
    store.set(keys[rank()], "")
    if rank() == 0:
        try:
            store.wait(keys, REACHED)
        except dist.DistStoreError:
            late = ", ".join(str(other) for other, key in enumerate(keys) if not store.check([key]))
            reason = f"within {REACHED.total_seconds():.0f} s of rank 0's preparation"
            raise OtherRankError(f"rank {late}: not started {reason}; see its log") from None


@cache
def open_store() -> dist.Store:
    """Return the key-value store that the ranks share, before they join each other, too; rank 0 or torchrun serves it.

    The next process group is made from this store.

    Raises:
        OtherRankError: nobody serves it within half an hour; rank 0 has ended, perhaps, before this rank started.
    """
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # torchrun already serves a store there
    serves = rank() == 0 and not agent
    try:
        store: dist.Store = dist.TCPStore(
            address, port, world_size(), is_master=serves, timeout=REACHED, wait_for_workers=False
        )
    except dist.DistNetworkError as error:
        reason = str(error).partition("\n")[0]
        raise OtherRankError(f"rank {rank()}: nobody serves the ranks at {address}, port {port}: {reason}") from None
    store.set_timeout(PATIENCE)
    if agent:
        restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = dist.PrefixStore(f"bistil_{restart}_{next(_opened)}", store)
    return store


def _patient_group() -> dist.ProcessGroup:
    """Return a group of all ranks whose collectives may last for seven days: one rank may work while others wait."""
    if _patient.get("of") is not dist.group.WORLD:
        _patient.update({"of": dist.group.WORLD, "group": dist.new_group(backend="gloo", timeout=PATIENCE)})
    return _patient["group"]


def from_rank_0(value: T | None) -> T:
    """Return rank 0's value, on every rank; the other ranks wait for it for up to seven days."""
    box = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(box, src=0, group=_patient_group())
    assert box[0] is not None
    return box[0]


def from_rank_0_early(key: str, value: T | None) -> T:
    """Return rank 0's value, on every rank, also before the ranks have joined each other.

    Args:
        key: a name for the value in the store.
        value: JSON values.
    """
    if dist.is_initialized():
        return from_rank_0(value)
    if rank() == 0:
        open_store().set(key, json.dumps(value))
    found: T = parse_json(open_store().get(key).decode())
    return found


def from_every_rank(value: T) -> list[T]:
    """Return every rank's value, on every rank."""
    values: list[Any] = [value] * world_size()
    if dist.is_initialized():
        dist.all_gather_object(values, value)
    return values


def add_over_ranks(value: torch.Tensor) -> None:
    """Replace `value`, in place, by its sum over the ranks."""
    if dist.is_initialized():
        dist.all_reduce(value)


def wait_for_every_rank() -> None:
    """Return once every rank has come here, for up to seven days."""
    if dist.is_initialized():
        dist.barrier(_patient_group())


def stop_distributed() -> None:
    """Leave the process group, so that the launcher sees a clean end."""
    if dist.is_initialized():
        _patient.clear()
        dist.destroy_process_group()


def free_port() -> int:
    """Return a port that nobody listens on at this moment.

    Linux by default gives none of these ports to a program that asks for any, so it is likely to stay free.

    Raises:
        InputError: none of a hundred ports is free.
    """
    for port in random.SystemRandom().sample(range(20000, 32768), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise InputError("127.0.0.1: no port is free among 100 from 20000 to 32767")
