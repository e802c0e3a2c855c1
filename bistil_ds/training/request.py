"""The training arguments of a run as plain values, for the time before there is a device to make them for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from transformers import TrainingArguments

from bistil_ds.errors import InputError


@dataclass(frozen=True)
class TrainingRequest:
    """Values of training arguments by field name; `build` makes the arguments themselves.

    `transformers.TrainingArguments` looks for a device and joins the other ranks when it is made, so rank 0 prepares
    with a request, and every rank builds the arguments once the ranks have met.

    Args:
        kind: the dataclass of the arguments.
        values: field → value.
    """

    kind: type[TrainingArguments]
    values: Mapping[str, Any]

    @classmethod
    def of_flags(cls, kind: type[TrainingArguments], flags: Mapping[str, Any]) -> TrainingRequest:
        """Return a request with those flags that are fields of `kind`."""
        return cls(kind, fields_of(kind, flags))

    def __getitem__(self, field: str) -> Any:
        return self.values[field]

    def having(self, **values: Any) -> TrainingRequest:
        """Return the request with other values for some fields."""
        return replace(self, values={**self.values, **values})

    def build(self, **values: Any) -> Any:
        """Return the training arguments, of type `kind`, with other values for some fields."""
        return self.kind(**{**self.values, **values})


def fields_of(kind: type, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return those flags that a dataclass's constructor takes, by name."""
    taken = {one.name for one in fields(kind) if one.init}
    return {name: value for name, value in flags.items() if name in taken}


def with_defaults(types: Sequence[type], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value for every field of the dataclasses in `types`: the flag's, else the field's default.

    Raises:
        InputError: a flag is no field of any of them.
    """
    complete: dict[str, Any] = {}
    for one in (one for kind in types for one in fields(kind) if one.init):
        complete[one.name] = one.default_factory() if one.default_factory is not MISSING else one.default
    if unknown := sorted(set(flags) - set(complete)):
        raise InputError(f"no flag is called {unknown[0]!r}")
    return {**complete, **flags}
