"""Labels that a model was never taught are refused before it is run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import Place
from bistil_ds.tasks.task import ReadOptions


def check_known(found: Iterable[tuple[str, Place]], known: Sequence[str], flag: str, kind: str, other: str) -> None:
    """InputError naming file and line of the first example in `found` with a label that is not in `known`.

    kind: what such a label is called ("tag"); other: one that it could be read as, for the hint.
    """
    taught = set(known)
    for label, place in found:
        if label not in taught:
            mapped = label.removeprefix("B-").removeprefix("I-")  # an entity's type stands for both its tags
            raise InputError(
                f"{flag}: {place}: {kind} {label!r} in the example that begins there is none the model knows "
                f"({', '.join(known)}); read it as one of them, such as --label_map {mapped}={other}"
            )


def refuse_label_map(options: ReadOptions, task: str) -> None:
    """InputError for a `--label_map`, which would change nothing about a task without labels."""
    for old, new in options.label_map.items():
        raise InputError(f"--label_map {old}={new}: the examples of {task} have no labels; leave it out")
