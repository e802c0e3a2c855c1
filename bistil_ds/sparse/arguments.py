"""The arguments of sparse fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass, field

from bistil_ds.errors import InputError
from bistil_ds.sparse.maskable import entries_to_train


@dataclass(frozen=True)
class SparseArguments:
    """How LT-SFT (arXiv 2110.07560) chooses what to train, and how long its two stages are."""

    _argument_group_name = "sparse fine-tuning"

    density: float = field(
        default=0.08, metadata={"help": "Share of the base model's entries that may change, layer norms not counted."}
    )
    k: int | None = field(default=None, metadata={"help": "Number of entries that may change, in place of --density."})
    full_epochs: float | None = field(
        default=None, metadata={"help": "Epochs of the full stage, which finds the entries; default: the task's."}
    )
    sparse_epochs: float | None = field(
        default=None, metadata={"help": "Epochs of the sparse (or dense) stage; default: the task's."}
    )
    full_max_steps: int | None = field(
        default=None, metadata={"help": "Optimiser steps of the full stage, in place of --full_epochs."}
    )
    sparse_max_steps: int | None = field(
        default=None, metadata={"help": "Optimiser steps of the sparse (or dense) stage, in place of --sparse_epochs."}
    )
    full_l1: float = field(
        default=0.0,
        metadata={"help": "Weight, in the full stage, of the mean |change| of an entry; not at ZeRO-3."},
    )
    sparse_l1: float = field(default=0.0, metadata={"help": "The same in the sparse stage."})
    iterations: int = field(
        default=1, metadata={"help": "Rounds of both stages; each adds an equal part of the entries."}
    )
    selection: str = field(
        default="lottery",
        metadata={
            "help": "Entries that moved most in the full stage, or (a control) random ones.",
            "choices": ["lottery", "random"],
        },
    )
    dense: bool = field(
        default=False, metadata={"help": "Train every parameter instead, layer norms too, in one stage: the second's."}
    )

    def idle(self) -> dict[str, str]:
        """Return the field that has no effect beside the others → why, for each such field."""
        of_full = ("full_epochs", "full_max_steps", "full_l1")
        replaced_by = {"density": "k", "full_epochs": "full_max_steps", "sparse_epochs": "sparse_max_steps"}
        idle = {old: f"--{new} is given" for old, new in replaced_by.items() if getattr(self, new) is not None}
        if self.dense:
            of_entries = ("density", "k", "sparse_l1", "iterations", "selection")
            idle |= dict.fromkeys((*of_full, *of_entries), "--dense trains every parameter, in one stage")
        elif self.selection == "random":
            idle |= dict.fromkeys(of_full, "--selection random has no full stage")
        return idle

    def check(self, maskable: int, zero_stage: int = 0, *, fp16: bool = False) -> None:
        """Raise InputError for a value that cannot be used.

        Args:
            maskable: number of the base model's entries that may be chosen (`maskable_count`).
            zero_stage: DeepSpeed's ZeRO stage; 0 without DeepSpeed.
            fp16: whether training is in float16 mixed precision.
        """
        for name in ("full_epochs", "sparse_epochs", "full_max_steps", "sparse_max_steps"):
            length = getattr(self, name)
            if length is not None and not 0 < length < float("inf"):
                raise InputError(f"--{name} {length}: expected a number above 0")
        if self.dense:
            return
        k = entries_to_train(self.density, self.k, maskable)
        if not 1 <= self.iterations <= k:
            raise InputError(f"--iterations {self.iterations}: expected 1 to {k}, the entries that may change")
        for name in ("full_l1", "sparse_l1"):
            weight = getattr(self, name)
            if not 0 <= weight < float("inf"):
                raise InputError(f"--{name} {weight}: expected a number of at least 0")
            if weight and fp16:
                raise InputError(f"--{name} {weight:g}: cannot be used with --fp16; take --bf16 or full precision")
        if self.full_l1 and zero_stage == 3:
            raise InputError(f"--full_l1 {self.full_l1:g}: cannot be used at ZeRO-3; take stage 0, 1 or 2")
        if self.selection not in ("lottery", "random"):
            raise InputError(f"--selection {self.selection}: expected lottery or random")
        if self.selection == "random" and self.iterations > 1:
            raise InputError(
                f"--iterations {self.iterations}: --selection random draws all entries at once; leave one of them out"
            )
