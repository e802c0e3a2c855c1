"""The training arguments of a run as plain values, for use before the run has a device and its ranks have met."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, replace
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from bistil_ds.errors import InputError


@dataclass(frozen=True)
class TrainingRequest:
    """Values of training arguments by field name; `build` makes the arguments themselves.

    Making `transformers.TrainingArguments` chooses a device and joins the other ranks. So rank 0 prepares the run with
    a request, and every rank builds the arguments after the ranks have met.

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

    Values have the types that the command line gives them: a list where a flag takes several words, with a word
    `NAME=VALUE` for each entry of a mapping, and a loss weight as text.

    Raises:
        InputError: no dataclass has a field of a flag's name, or a value is not among the field's choices.
    """
    known = {one.name: one for kind in types for one in fields(kind) if one.init}
    if unknown := sorted(set(flags) - set(known)):
        raise InputError(f"no flag is called {unknown[0]!r}")
    return {name: _value(one, flags[name]) if name in flags else _default(one) for name, one in known.items()}


def _default(one: Field[Any]) -> Any:
    return one.default_factory() if one.default_factory is not MISSING else one.default


def _value(one: Field[Any], value: Any) -> Any:
    choices = one.metadata.get("choices")
    if choices and value is not None and value not in choices:
        raise InputError(f"--{one.name} {value}: expected one of {', '.join(map(str, choices))}")
    if one.name == "resume_from_checkpoint":
        return str(value) if value else None
    if value is None:
        return None
    if one.metadata.get("nargs"):
        if isinstance(value, Mapping):
            return [f"{name}={part}" for name, part in value.items()]
        is_one = isinstance(value, str) or not isinstance(value, Iterable)
        return [str(word) for word in ([value] if is_one else value)]
    return str(value) if one.name.endswith("_weight") or isinstance(value, Path) else value
