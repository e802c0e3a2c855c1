"""Check, before a model runs, for labels that it was not trained on.

Universal tags and relations have the same names in all data. If training lacked one of them, words that have it count
as wrong, and nothing is learned from them. Any other label that the model does not know may be a known one by another
name: it is refused, and the message suggests a `--label_map` for it. If the model only counts its labels (`LABEL_0`),
the message asks for the whole map, because nothing says which label is which.
"""

from __future__ import annotations

import re
import shlex
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

from bistil_ds.errors import InputError, Notice
from bistil_ds.tasks.examples import Place
from bistil_ds.tasks.task import ReadOptions

LONGEST_ADVICE = 40  # characters; advice does not spell out a longer label
MOST_ASKED = 20  # labels whose names one message asks for
COUNTED = re.compile(r"(LABEL_)?[0-9]+")  # a label that has no meaning of its own


def map_advice(label: str, other: str) -> str:
    """Return the end of a message that advises `--label_map LABEL=OTHER`, quoted for a shell.

    The result is "" for three kinds of labels: those that the flag cannot name (with outer spaces, "=", or a character
    that does not print), those longer than LONGEST_ADVICE, and those without a letter or digit, such as "_", which
    often means "no annotation".
    """
    if not _can_be_named(label):
        return ""
    return f"; read it as another label, such as --label_map {shlex.quote(f'{label}={other}')}"


def _can_be_named(label: str) -> bool:
    can_be = label == label.strip() and "=" not in label and label.isprintable()
    return can_be and len(label) <= LONGEST_ADVICE and any(map(str.isalnum, label))


def check_known(
    found: Iterable[tuple[str, Place]],
    known: Sequence[str],
    flag: str,
    kind: str,
    advise: Callable[[str], str] | None = None,
    universal: AbstractSet[str] = frozenset(),
) -> None:
    """Raise InputError, with file and line, for the first example in `found` whose label is not in `known`.

    If some of `known` are universal labels, the other universal labels are no error: a Notice counts them.

    Args:
        found: each label with the place of its example.
        kind: what the message calls such a label ("tag").
        advise: returns the end of the message for an unknown label; None suggests a known label that no example has.
            If a known label differs from the unknown one only in case, the message suggests that instead.
        universal: labels that have these names in all data.
    """
    taught, seen = set(known), set[str]()
    allowed = universal if universal & taught else frozenset[str]()
    untaught: Counter[str] = Counter()
    rest = iter(found)
    for label, place in rest:
        seen.add(label)
        if label not in taught and label in allowed:
            untaught[label] += 1
        elif label not in taught:
            seen.update(one for one, _ in rest)
            raise InputError(
                f"{flag}: {place}: {kind} {label!r} in the example that begins there is none the model knows "
                f"({', '.join(known)}){_way_out(label, known, seen, advise)}"
            )
    if untaught:
        named = ", ".join(f"{label} ({count} words)" for label, count in sorted(untaught.items()))
        said = f"{flag}: training had no {kind} {named}: these words count as wrong, and nothing is learned from them"
        warnings.warn(said, Notice, stacklevel=2)


def _way_out(label: str, known: Sequence[str], seen: AbstractSet[str], advise: Callable[[str], str] | None) -> str:
    """Return the end of the message that refuses `label`; `seen` are all labels of the data."""
    if alike := [one for one in known if one.casefold() == label.casefold()]:
        return map_advice(label, alike[0])
    if any(map(COUNTED.fullmatch, known)):
        unknown = [one for one in sorted(seen - set(known)) if _can_be_named(one)]
        pairs = " ".join(shlex.quote(f"{one}=") + "?" for one in unknown[:MOST_ASKED])
        return f"; say which of them each label of the data is: --label_map {pairs}" if pairs else ""
    if advise is not None:
        return advise(label)
    free = [one for one in known if one not in seen] or known
    return map_advice(label, free[0])


def refuse_label_map(options: ReadOptions, task: str) -> None:
    """Raise InputError if `--label_map` was given to a task without labels."""
    for old, new in options.label_map.items():
        raise InputError(f"--label_map {old}={new}: the examples of {task} have no labels; leave it out")
