"""Refuse labels that a model was never taught, before the model is run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import Place
from bistil_ds.tasks.task import ReadOptions


def check_known(found: Iterable[tuple[str, Place]], known: Sequence[str], flag: str, kind: str, other: str) -> None:
    """Raise InputError, with file and line, for the first example in `found` whose label is not in `known`.

    Args:
        found: each label with the place of its example.
        kind: what the message calls such a label ("tag").
        other: a known label; the message suggests mapping the unknown label to it.
    """
    taught = set(known)
    for label, place in found:
        if label not in taught:
            mapped = label.removeprefix("B-").removeprefix("I-")  # mapping an entity type maps both of its tags
            raise InputError(
                f"{flag}: {place}: {kind} {label!r} in the example that begins there is none the model knows "
                f"({', '.join(known)}); read it as one of them, such as --label_map {mapped}={other}"
            )


def refuse_label_map(options: ReadOptions, task: str) -> None:
    """Raise InputError if a `--label_map` was given: a task without labels could not use it."""
    for old, new in options.label_map.items():
        raise InputError(f"--label_map {old}={new}: the examples of {task} have no labels; leave it out")
