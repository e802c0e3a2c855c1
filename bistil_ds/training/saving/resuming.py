"""Find, check and read the checkpoint that a training resumes from; rank 0 finds and checks it for all ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bistil_ds.distributed import universal
from bistil_ds.distributed.agreement import ask_rank_0
from bistil_ds.distributed.weights_only import weights_only, weights_only_is_enough
from bistil_ds.errors import blaming
from bistil_ds.runs import checkpoints
from bistil_ds.training.arguments import seals_of


def find_checkpoint(args: Any, wanted: str) -> Path | None:
    """Return the whole checkpoint in `args.output_dir` to resume from (see `checkpoints.find_checkpoint`).

    Every rank must call this and the other functions here.

    Raises:
        InputError: from `checkpoints.find_checkpoint`.
    """
    return ask_rank_0(lambda: checkpoints.find_checkpoint(Path(args.output_dir), wanted, seals_of(args)))


def fit_best(args: Any, best: Path, *, deepspeed: bool) -> bool:
    """Check the run's best checkpoint; if it needs DeepSpeed's universal form, add that and return True.

    Raises:
        InputError: `best` is no checkpoint of this run, not whole, not signed, or cannot be converted.
    """

    def fit() -> bool:
        seals = seals_of(args)
        with blaming("the best model cannot be loaded"):
            checkpoints.check(best, Path(args.output_dir), seals)
            return deepspeed and universal.fit(best, args.world_size, args.deepspeed, seals)

    return ask_rank_0(fit)


@contextmanager
def reading(args: Any, checkpoint: Path, *, deepspeed: bool) -> Iterator[None]:
    """While the block runs, read DeepSpeed's files as weights only; read signed files that hold more in full.

    Raises:
        InputError: the files hold more than weights, and are not signed by the user's key.
    """
    if not deepspeed or not ask_rank_0(lambda: weights_only_is_enough(checkpoint, seals_of(args))):
        yield
        return
    with weights_only():
        yield
