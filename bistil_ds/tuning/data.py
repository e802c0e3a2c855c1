"""Read the data files of teacher tuning and phase 2."""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from bistil_ds.errors import InputError
from bistil_ds.tasks import ReadOptions, Task, task_names
from bistil_ds.tasks.data import TaskData, make_rows, mix, read_examples
from bistil_ds.tasks.embed.pairs import read_parallel
from bistil_ds.tasks.languages import language_code
from bistil_ds.tasks.task import Row
from bistil_ds.text.corpus import corpus_hash
from bistil_ds.tuning.data_request import Sources, TaskDataRequest, absolute_parallel, absolute_sources

TRAIN, DEV, PARALLEL, UNLABELLED = "--train_file", "--dev_file", "--parallel_file", "--unlabelled_file"
SHARE = 10  # at most one in so many of a language's texts is held out


@dataclass(frozen=True)
class Part:
    """The examples of one source: a file or hub data set of `flag`, in a language."""

    flag: str
    language: str
    source: str
    examples: list[Any]


@dataclass(frozen=True)
class Examples:
    """The examples of a run: those of each training source, and those of each validation set."""

    train: list[Part]
    dev: list[Part]


def read_data(data: TaskDataRequest, task: Task, progress: bool = False) -> Examples:
    """Read all sources. Where a task needs no labels and has no validation sources, hold out training texts.

    No text that is held out stays in training, neither in another source nor as a side of a pair of parallel texts.

    Raises:
        InputError: a source cannot be used, two validation sources have one language, or there are too few texts.
    """
    train = [
        Part(TRAIN, language, path, read_examples(task, path, data.reading(TRAIN, language), progress))
        for language, path in data.train
    ]
    for language, path in data.unlabelled:
        texts = task.read_unlabelled(path, ReadOptions(UNLABELLED, language=language))
        train.append(Part(UNLABELLED, language, path, list(texts)))
    pairs = [
        Part(PARALLEL, name, f"{source},{translations}", list(read_parallel(source, translations, PARALLEL)))
        for name, source, translations in data.parallel
    ]
    if not data.dev:
        return _hold_out(data, task, train, pairs)
    languages = [language for language, _ in data.dev]
    for language, path in data.dev:
        if languages.count(language) > 1:
            raise InputError(f"{DEV} {path}: several are called {language}; name it otherwise, as in NAME={path}")
    dev = [
        Part(DEV, language, path, read_examples(task, path, data.reading(DEV, language))) for language, path in data.dev
    ]
    return Examples([*train, *pairs], dev)


def _hold_out(data: TaskDataRequest, task: Task, train: list[Part], pairs: list[Part]) -> Examples:
    """Hold out the texts of each language whose hashes are the least: the same ones in each run."""
    dev: list[Part] = []
    held: set[str] = set()
    for language in dict.fromkeys(part.language for part in train):
        mine = [part for part in train if part.language == language]
        of_key = {task.text_key(example): example for part in mine for example in part.examples}
        number = min(data.held_out, len(of_key) // SHARE)
        if number < 2:
            raise InputError(
                f"{TRAIN} {mine[0].source}: has {len(of_key)} different texts, of which at least {2 * SHARE} are "
                f"needed to hold some out for validation; give more, or {DEV}"
            )
        keys = heapq.nsmallest(number, of_key, key=lambda key: hashlib.sha256(key.encode()).digest())
        dev.append(Part(TRAIN, language, mine[0].source, [of_key[key] for key in keys]))
        held |= set(keys)
    left = [
        Part(part.flag, part.language, part.source, [one for one in part.examples if not held & task.text_keys(one)])
        for part in (*train, *pairs)
    ]
    return Examples([part for part in left if part.examples], dev)


def check_data(examples: Examples, task: Task, labels: Sequence[str]) -> None:
    """Raise InputError for a label of the training or validation examples that is not among `labels`."""
    for part in (*examples.train, *examples.dev):
        task.check_labels(part.examples, labels, part.flag)
    for part in examples.dev:
        task.check_language(part.language, part.flag)


def training_rows(
    data: TaskDataRequest, examples: Examples, task: Task, tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]
) -> list[Row]:
    """Return the rows of all training sources, mixed; `data.max_length` must not be None.

    Raises:
        InputError: `make_rows` raises it.
    """
    longest = _longest(data)
    parts = [
        make_rows(task, part.examples, tokenizer, labels, longest, source=f"{part.flag} {part.source}", training=True)
        for part in examples.train
    ]
    return mix(parts, data.upsample)


def development_sets(
    data: TaskDataRequest, examples: Examples, task: Task, tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]
) -> dict[str, TaskData]:
    """Return language → validation data; `data.max_length` must not be None.

    Raises:
        InputError: `make_rows` raises it.
    """
    longest = _longest(data)
    sets = {}
    for part in examples.dev:
        rows = make_rows(task, part.examples, tokenizer, labels, longest, source=f"{part.flag} {part.source}")
        sets[part.language] = TaskData(task, part.language, part.source, part.examples, rows)
    return sets


def _longest(data: TaskDataRequest) -> int:
    assert data.max_length is not None  # preparation set it
    return data.max_length


def languages_of(sources: Sources) -> list[str]:
    """Return those language names of training files that are codes, such as en or hau; each once, sorted."""
    names = {language for language, _ in sources} - set(task_names())
    return sorted(name for name in names if re.fullmatch(r"[a-z]{2,3}(-\w+)*", name) and language_code(name))


def data_hashes(data: TaskDataRequest) -> dict[str, Any]:
    """Return `LANGUAGE=FILE` → SHA-256 of each file or folder of training and validation; None for a hub data set.

    A pair of parallel files has two entries, both with the pair's name.
    """
    words = absolute_sources(data.train + data.dev + data.unlabelled)
    for word in absolute_parallel(data.parallel):
        name, _, files = word.partition("=")
        words += [f"{name}={file}" for file in files.split(",")]
    return {word: corpus_hash(word.partition("=")[2], TRAIN) for word in words}
