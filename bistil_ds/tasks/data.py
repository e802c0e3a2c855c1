"""Read and check the examples of a task, and turn them into rows, the inputs of a model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from bistil_ds.console.progress import progress_bar
from bistil_ds.errors import InputError, Notice
from bistil_ds.tasks.task import ReadOptions, Row, Task


@dataclass(frozen=True)
class TaskData:
    """The examples of one source and their rows; `rows[i]["example"]` is the index of the example of row i."""

    task: Task
    language: str | None
    source: str
    examples: list[Any] = field(repr=False)
    rows: list[Row] = field(repr=False)


def read_examples(task: Task, source: str, options: ReadOptions, progress: bool = False) -> list[Any]:
    """Return the examples of a file or hub data set.

    If the source marks languages and `options.language` is set, other languages are left out.

    Raises:
        InputError: the source cannot be read, does not follow its format, or holds no example.
    """
    bar = progress_bar(task.read(source, options), f"reading {Path(source).name}", show=progress, leave=False, delay=2)
    examples = list(bar)
    if not examples:
        raise InputError(f"{options.flag} {source}: holds no examples for {task.name}")
    return examples


def make_rows(
    task: Task,
    examples: Sequence[Any],
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str],
    max_length: int,
    *,
    source: str,
    training: bool = False,
) -> list[Row]:
    """Return the rows of the examples of one source; `source` names it and its flag, for messages.

    A Notice says how much of the examples the rows leave out.

    Raises:
        InputError: no example gives a row.
    """
    rows = task.features(examples, tokenizer, labels, max_length, training=training)
    unused = task.unused(examples, rows)
    if not rows:
        reason = unused or f"nothing in it fits into {max_length} tokens; raise --max_length"
        raise InputError(f"{source}: {reason}")
    if unused:
        warnings.warn(f"{source}: {unused}", Notice, stacklevel=2)
    return rows


def mix(parts: Sequence[Sequence[Row]], upsample: bool) -> list[Row]:
    """Join the rows of several training sources; with `upsample`, repeat each source to the size of the largest.

    The last repetition may be incomplete: it ends when that size is reached.
    """
    most = max(map(len, parts))
    mixed: list[Row] = []
    for rows in parts:
        wanted = most if upsample else len(rows)
        mixed += (list(rows) * -(-wanted // len(rows)))[:wanted]
    return mixed


def parse_pairs(words: Sequence[str] | None, flag: str) -> Mapping[str, str]:
    """Parse `["DATE=O"]` into `{"DATE": "O"}`.

    Raises:
        InputError: a word is not of the form NAME=NAME, or one name is mapped to two values.
    """
    pairs: dict[str, str] = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise InputError(f"{flag} {word}: expected NAME=NAME, such as DATE=O")
        if pairs.setdefault(name, value) != value:
            raise InputError(f"{flag} {word}: {name} is already mapped to {pairs[name]}")
    return pairs
