"""Run a training command: parse its flags, prepare the run on rank 0, train on every rank."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bistil_ds.commands.common_flags import CommonFlags
from bistil_ds.commands.dry_run import dry_run
from bistil_ds.console import cli
from bistil_ds.distributed import startup
from bistil_ds.errors import NonFiniteError
from bistil_ds.training import preemption
from bistil_ds.training.estimate.table import Rehearsal
from bistil_ds.training.starting import start


@dataclass(frozen=True)
class TrainingCommand:
    """A command that trains.

    Args:
        description: the description in `--help`.
        flags: the dataclasses of its flags; one of them must have the field `deepspeed`.
        prepare: takes flag → value and returns what every rank trains with; only rank 0 calls it, before the ranks
            meet.
        train: trains from what `prepare` returned; every rank calls it.
        rehearse: in a dry run, trains only the first steps and returns findings about the run (None on ranks other than
            0); every rank calls it.
        presets: what the flag `--preset` offers: name → the flags that it stands for.
    """

    description: str
    flags: Sequence[type]
    prepare: Callable[[Mapping[str, Any]], Any]
    train: Callable[[Any], None]
    rehearse: Callable[[Any], Rehearsal | None]
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def run_command(command: TrainingCommand, argv: Sequence[str] | None) -> int:
    """Run the command on `argv` (None: `sys.argv`) and return its exit code.

    Exit codes: 0 for success; 2 for bad input; 130 after Ctrl-C; 1 if training met a loss, gradient or weight that is
    not finite, if the run's result is missing or does not load, or if a rank is lost; 75 if SIGTERM or SIGUSR1 stopped
    the run (before training began, or after a checkpoint was saved).
    """
    words = sys.argv[1:] if argv is None else list(argv)
    return cli.run(lambda: _run(command, words))


def _run(command: TrainingCommand, words: Sequence[str]) -> None:
    flags = vars(cli.parse(words, [*command.flags, CommonFlags], command.description, command.presets))

    def prepare() -> Any:
        with preemption.stop_at_once():
            return command.prepare(flags)

    def train(prepared: Any) -> None:
        with preemption.save_first():
            command.train(prepared)

    try:
        if flags["dry_run"]:
            dry_run(command.prepare, command.rehearse, flags)
        else:
            start(prepare, train, use_deepspeed=bool(flags["deepspeed"]), rank_timeout=flags["rank_timeout"])
    except NonFiniteError:  # raised on every rank
        startup.stop_distributed()
        raise
    startup.stop_distributed()


def own_flags(flags: Mapping[str, Any], types: Sequence[type]) -> dict[str, Any]:
    """Return only the flags that are fields of the dataclasses in `types`."""
    names = {name for kind in types for name in kind.__dataclass_fields__}  # type: ignore[attr-defined]
    return {name: value for name, value in flags.items() if name in names}
