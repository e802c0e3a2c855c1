"""The flags by which a user says how a model makes sentence vectors, for every command that runs the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from bistil_ds.embedding.pooling import MODES


@dataclass(frozen=True)
class VectorArguments:
    """Flags of the task `embed` only: how models make vectors, in place of what their files say."""

    _argument_group_name = "sentence vectors (--task embed only)"

    pooling: list[str] | None = field(
        default=None,
        metadata={"nargs": "+", "help": f"How states become a vector: {', '.join(MODES)}; default: as the model says."},
    )
    normalise: bool = field(default=True, metadata={"help": "With --pooling: scale vectors to length 1."})
    prompt: list[str] | None = field(
        default=None,
        metadata={
            "nargs": "+",
            "help": "[NAME=]TEXT before texts, such as query='query: '; default: the model's own prompts.",
        },
    )


def vector_choices(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return those flags of `VectorArguments` that were given, as `Task.configured` takes them."""
    return {one.name: flags[one.name] for one in fields(VectorArguments) if flags[one.name] != one.default}
