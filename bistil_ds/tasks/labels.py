"""Labels that a model was never taught are refused before it is run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import Place


def check_known(found: Iterable[tuple[str, Place]], known: Sequence[str], flag: str, kind: str, other: str) -> None:
    """InputError naming file and line of the first label of `found` that is not in `known`.

    kind: what such a label is called ("tag"); other: one that it could be read as, for the hint.
    """
    taught = set(known)
    for label, place in found:
        if label not in taught:
            mapped = label.removeprefix("B-").removeprefix("I-")  # an entity's type stands for both its tags
            raise InputError(
                f"{flag}: {place}: {kind} {label!r} is none the model knows ({', '.join(known)}); "
                f"read it as one of them, such as --label_map {mapped}={other}"
            )
