"""Train sparsely under DeepSpeed, several runs in one process; `test_zero_sparse.py` runs this on one rank or two.

    python sparse_zero.py BASE FOLDER RUNS

RUNS is a JSON list of {"name", "zero", "arguments", "sparse", "mlm", "rows", "resume", "kill", "copy"}. "kill" is
[stage kind, step]; "copy" names a folder in FOLDER that gets a copy of the run folder. Each run leaves in FOLDER its
run folder `name`, `name.safetensors` (all weights at its end) and `name-RANK.json`. This JSON file holds, for each kind
of stage, the number of entries in the optimizer's state and in reductions between ranks.
"""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import sparse_material as material
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from transformers.utils import logging

from bistil_ds.distributed import startup
from bistil_ds.distributed.config import find_config
from bistil_ds.distributed.gathering import full_fp32, gathered
from bistil_ds.tuning.lottery_ticket import LotteryTicketTrainer
from bistil_ds.tuning.stage import Stage

reduced = 0  # number of entries that this rank gave to reductions
REDUCTIONS = ("all_reduce", "reduce", "reduce_scatter_tensor", "_reduce_scatter_base", "reduce_scatter")


class Killed(Exception):
    pass


def count_reductions() -> None:
    for name in REDUCTIONS:
        if (reduce := getattr(dist, name, None)) is not None:
            setattr(dist, name, counting(reduce, name))


def counting(reduce: Any, name: str) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        global reduced
        into_own = name in ("reduce_scatter_tensor", "_reduce_scatter_base")
        given = kwargs.get("input", args[1] if len(args) > 1 else None) if into_own else (args or [*kwargs.values()])[0]
        tensors = given if isinstance(given, (list, tuple)) else [given]
        reduced += sum(t.numel() for t in tensors if isinstance(t, torch.Tensor))
        return reduce(*args, **kwargs)

    return call


def state_entries(optimizer: Any) -> int:
    """Return how many entries AdamW's first moments have on this rank."""
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return sum(state["exp_avg"].numel() for state in optimizer.state.values() if "exp_avg" in state)


def run(base: Path, folder: Path, given: dict[str, Any]) -> None:
    mlm, sizes = given.get("mlm", False), {}

    def probe(trainer: Any, stage: Stage) -> None:
        sizes[stage.kind] = {"state": state_entries(trainer.optimizer), "reduced": reduced}
        parameters = dict(trainer.model.named_parameters())
        if stage.kind == "sparse":
            assert all(p.grad is None for p in parameters.values() if not p.requires_grad)
            with gathered(list(parameters.values())):
                weights = {n: p.detach().cpu().clone() for n, p in parameters.items() if not n.endswith("_delta")}
            masters = {n: full_fp32(p) for n, p in parameters.items() if p.requires_grad}
            assert all(m.dtype == torch.float32 for m in masters.values())
            if startup.rank() == 0:
                save_file(weights, folder / f"{given['name']}.safetensors")

    def make(model: Any, args: Any, stage: Stage) -> Any:
        global reduced
        reduced = 0
        trainer = material.factory(mlm, given.get("rows", 64), probe=probe, padding=False)(model, args, stage)

        def on_saved() -> None:
            if given.get("kill") == [stage.kind, trainer.state.global_step]:
                raise Killed

        trainer.on_saved = on_saved
        return trainer

    config = json.loads(find_config(f"zero{given['zero']}").read_text()) if "zero" in given else None
    # with this threshold, smaller parameters stay gathered and larger ones do not
    if config and given["zero"] == 3:
        config["zero_optimization"] |= {"stage3_param_persistence_threshold": 300}
    args = material.arguments(folder / given["name"], deepspeed=config, **given.get("arguments", {}))
    sparse = material.sparse(**given.get("sparse", {}))
    trainer = LotteryTicketTrainer(lambda: material.load(base, mlm), make, args, sparse, base)
    with suppress(Killed):
        trainer.train(given.get("resume"))
    if (copy := given.get("copy")) and startup.rank() == 0:  # a copy of the folder as the killed run left it
        shutil.copytree(folder / given["name"], folder / copy)
    (folder / f"{given['name']}-{startup.rank()}.json").write_text(json.dumps(sizes))


def main(base: str, folder: str, runs: str) -> None:
    logging.set_verbosity_error()
    startup.choose_accelerator()
    startup.prepare_environment(use_deepspeed=True)
    count_reductions()
    startup.start_distributed(use_deepspeed=True)
    for given in json.loads(runs):
        run(Path(base), Path(folder), given)
    startup.stop_distributed()


if __name__ == "__main__":
    main(*sys.argv[1:])
