"""Refuse flags that have no effect beside the other flags of a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from itertools import chain
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.training.schedule import Weight

# Flag → the losses that read it.
READ_BY = {
    "hidden_loss": ("hidden",),
    "attention_loss": ("attention",),
    "align_layers": ("hidden", "attention"),
    "published_losses": ("hidden", "attention", "relation"),
    "relation_layer": ("relation",),
    "relation_heads": ("relation",),
    "temperature": ("logit",),
    "mask_probability": ("logit", "mlm"),
    "similarity_temperature": ("similarity",),
}


def idle_losses(weights: Mapping[str, Weight]) -> dict[str, str]:
    """Return flag → why it has no effect, for each flag of `READ_BY` of which all losses are absent or weigh 0.

    Args:
        weights: the weight of each loss that the run can have.
    """
    idle = {}
    for flag, losses in READ_BY.items():
        names = [name for name in losses if name in weights]
        if not any(weights[name].used for name in names):
            said = " and ".join(f"--{name}_weight" for name in names)
            idle[flag] = f"{said} {'is' if len(names) == 1 else 'are'} 0" if names else "the task has no such loss"
    return idle


def refuse_idle(kinds: Sequence[type], flags: Mapping[str, Any], idle: Mapping[str, str]) -> None:
    """Raise InputError if a flag that has no effect has a value other than its default; the message says why.

    Args:
        kinds: the dataclasses of the flags, which have the defaults.
        flags: values by name.
        idle: flag → why it has no effect.
    """
    for one in chain.from_iterable(map(fields, kinds)):
        # The parser gives None for some lists that the user left out.
        if one.name in idle and flags.get(one.name) not in (None, default_of(one)):
            raise InputError(f"--{one.name} {flags[one.name]}: has no effect: {idle[one.name]}; leave it out")


def default_of(one: Field[Any]) -> Any:
    """Return the default value of a dataclass's field."""
    return one.default_factory() if one.default_factory is not MISSING else one.default
