"""Task data as a model takes it: examples read and checked, and the rows of model inputs made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from bistil_ds.errors import InputError
from bistil_ds.tasks.task import ReadOptions, Row, Task


@dataclass(frozen=True)
class TaskData:
    """One file of examples; `rows[i]["example"]` is the index of the example that row i stands for."""

    task: Task
    language: str | None
    source: str
    examples: list[Any] = field(repr=False)
    rows: list[Row] = field(repr=False)


def read_examples(task: Task, source: str, options: ReadOptions, progress: bool = False) -> list[Any]:
    """Every example of a file or hub data set.

    Raises:
        InputError: the source cannot be read, is not as its format says, or holds nothing.
    """
    bar = tqdm(task.read(source, options), f"reading {Path(source).name}", disable=not progress, leave=False, delay=2)
    examples = list(bar)
    if not examples:
        raise InputError(f"{options.flag} {source}: holds no examples for {task.name}")
    return examples


def load_data(
    task: Task,
    source: str,
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str],
    max_length: int,
    *,
    options: ReadOptions,
    language: str | None = None,
    training: bool = False,
    progress: bool = False,
) -> TaskData:
    """Read `source`, check its labels against `labels`, and make the rows.

    Raises:
        InputError: as `read_examples`; a label that is not among `labels`; nothing that could be trained on.
    """
    examples = read_examples(task, source, options, progress)
    task.check_labels(examples, labels, options.flag)
    rows = task.features(examples, tokenizer, labels, max_length, training=training)
    if not rows:
        raise InputError(f"{options.flag} {source}: nothing in it fits into {max_length} tokens; raise --max_length")
    return TaskData(task, language, source, examples, rows)


def mix(parts: Sequence[Sequence[Row]], upsample: bool) -> list[Row]:
    """The rows of several training sources as one list; with `upsample` each smaller one repeats to the largest's size.

    A source that does not divide the largest's size is repeated whole times and then filled up from its beginning.
    """
    most = max(map(len, parts))
    mixed: list[Row] = []
    for rows in parts:
        wanted = most if upsample else len(rows)
        mixed += (list(rows) * -(-wanted // len(rows)))[:wanted]
    return mixed


def parse_pairs(words: Sequence[str] | None, flag: str) -> Mapping[str, str]:
    """`["DATE=O"]` as {"DATE": "O"}; an InputError for words that are not NAME=NAME, or name one thing twice."""
    pairs: dict[str, str] = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise InputError(f"{flag} {word}: expected NAME=NAME, such as DATE=O")
        if pairs.setdefault(name, value) != value:
            raise InputError(f"{flag} {word}: {name} is already mapped to {pairs[name]}")
    return pairs
