"""Reading of the data files that the flags of teacher tuning and phase 2 name."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from bistil_ds.errors import InputError
from bistil_ds.runs.cache import file_hash
from bistil_ds.tasks import ReadOptions, Task, task_names
from bistil_ds.tasks.data import TaskData, load_data, mix, parse_pairs, read_examples
from bistil_ds.tasks.sources import parse_sources
from bistil_ds.tasks.task import Row


def options(ns: argparse.Namespace, flag: str) -> ReadOptions:
    """Return how the files of `flag` (`--train_file` or `--dev_file`) are read."""
    return ReadOptions(flag, parse_pairs(ns.columns, "--columns"), parse_pairs(ns.label_map, "--label_map"))


def training_examples(ns: argparse.Namespace, task: Task) -> list[Any]:
    """Return the examples of all training files, in order."""
    read = options(ns, "--train_file")
    files = parse_sources(ns.train_file, "--train_file")
    return [one for _, path in files for one in read_examples(task, path, read, progress=True)]


def training_rows(
    ns: argparse.Namespace, task: Task, tokenizer: PreTrainedTokenizerBase, labels: Sequence[str], progress: bool
) -> list[Row]:
    """Return the rows of all training files, mixed.

    Raises:
        InputError: as `load_data`.
    """
    read = options(ns, "--train_file")
    parts = [
        load_data(
            task,
            path,
            tokenizer,
            labels,
            ns.max_length,
            options=read,
            language=language,
            training=True,
            progress=progress,
        ).rows
        for language, path in parse_sources(ns.train_file, "--train_file")
    ]
    return mix(parts, ns.upsample)


def check_development_files(ns: argparse.Namespace, task: Task, labels: Sequence[str]) -> None:
    """Raise InputError for a validation file that cannot be used, or two files of one language."""
    named = parse_sources(ns.dev_file, "--dev_file")
    languages = [language for language, _ in named]
    for language, path in named:
        if languages.count(language) > 1:
            raise InputError(f"--dev_file {path}: several are called {language}; name it otherwise, as in NAME={path}")
        task.check_labels(read_examples(task, path, options(ns, "--dev_file")), labels, "--dev_file")


def development_sets(
    ns: argparse.Namespace, task: Task, tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]
) -> dict[str, TaskData]:
    """Return language → validation data.

    Raises:
        InputError: as `load_data`.
    """
    read = options(ns, "--dev_file")
    return {
        language: load_data(task, path, tokenizer, labels, ns.max_length, options=read, language=language)
        for language, path in parse_sources(ns.dev_file, "--dev_file")
    }


def absolute(words: Sequence[str], flag: str) -> list[str]:
    """Return each word as `LANGUAGE=FILE` with an absolute path, so that a record can be read from any folder."""
    found = parse_sources(words, flag)
    return [f"{language}={Path(p).resolve() if Path(p).is_file() else p}" for language, p in found]


def languages_of(words: Sequence[str], flag: str) -> list[str]:
    """Return the languages of training files that are named by a code such as en or hau; each once, sorted."""
    names = {language for language, _ in parse_sources(words, flag)} - set(task_names())
    return sorted(name for name in names if re.fullmatch(r"[a-z]{2,3}(-\w+)*", name))


def data_hashes(ns: argparse.Namespace) -> dict[str, Any]:
    """Return `LANGUAGE=FILE` → SHA-256 of each training and validation file; None for hub ids."""
    words = absolute(ns.train_file, "--train_file") + absolute(ns.dev_file, "--dev_file")
    files = {word: Path(word.partition("=")[2]) for word in words}
    return {word: file_hash(path) if path.is_file() else None for word, path in files.items()}
