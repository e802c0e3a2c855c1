"""Read the data files of teacher tuning and phase 2."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from bistil_ds.errors import InputError
from bistil_ds.tasks import Task, find_task, task_names
from bistil_ds.tasks.data import TaskData, load_data, mix, read_examples
from bistil_ds.tasks.languages import language_code
from bistil_ds.tasks.task import Row
from bistil_ds.text.corpus import corpus_hash
from bistil_ds.tuning.data_request import Sources, TaskDataRequest, absolute_sources

TRAIN, DEV = "--train_file", "--dev_file"


def training_examples(data: TaskDataRequest) -> list[Any]:
    """Return the examples of all training files, in order."""
    task = find_task(data.task)
    return [
        one
        for language, path in data.train
        for one in read_examples(task, path, data.reading(TRAIN, language), progress=True)
    ]


def training_rows(
    data: TaskDataRequest, tokenizer: PreTrainedTokenizerBase, labels: Sequence[str], progress: bool
) -> list[Row]:
    """Return the rows of all training files, mixed; `data.max_length` must not be None.

    Raises:
        InputError: `load_data` raises it.
    """
    task, read, longest = find_task(data.task), data.reading(TRAIN), _longest(data)
    parts = [
        load_data(
            task, path, tokenizer, labels, longest, options=read, language=language, training=True, progress=progress
        ).rows
        for language, path in data.train
    ]
    return mix(parts, data.upsample)


def check_development_files(data: TaskDataRequest, task: Task, labels: Sequence[str]) -> None:
    """Raise InputError if a validation file cannot be used, or if two of them have the same language."""
    languages = [language for language, _ in data.dev]
    for language, path in data.dev:
        if languages.count(language) > 1:
            raise InputError(f"--dev_file {path}: several are called {language}; name it otherwise, as in NAME={path}")
        task.check_labels(read_examples(task, path, data.reading(DEV, language)), labels, DEV)


def development_sets(
    data: TaskDataRequest, tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]
) -> dict[str, TaskData]:
    """Return language → validation data; `data.max_length` must not be None.

    Raises:
        InputError: `load_data` raises it.
    """
    task, read, longest = find_task(data.task), data.reading(DEV), _longest(data)
    return {
        language: load_data(task, path, tokenizer, labels, longest, options=read, language=language)
        for language, path in data.dev
    }


def _longest(data: TaskDataRequest) -> int:
    assert data.max_length is not None  # preparation set it
    return data.max_length


def languages_of(sources: Sources) -> list[str]:
    """Return those language names of training files that are codes, such as en or hau; each once, sorted."""
    names = {language for language, _ in sources} - set(task_names())
    return sorted(name for name in names if re.fullmatch(r"[a-z]{2,3}(-\w+)*", name) and language_code(name))


def data_hashes(data: TaskDataRequest) -> dict[str, Any]:
    """Return `LANGUAGE=FILE` → SHA-256 of each training and validation file or folder; None for a hub data set."""
    words = absolute_sources(data.train) + absolute_sources(data.dev)
    return {word: corpus_hash(word.partition("=")[2], TRAIN) for word in words}
