"""Find the test examples that a model may have seen, because their text also stands in its training data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bistil_ds.runs.files import read_json
from bistil_ds.runs.record import RECORD_FILE
from bistil_ds.tasks.candidates import ModelChoice
from bistil_ds.tasks.data import parse_pairs, read_examples
from bistil_ds.tasks.embed.pairs import parse_parallel, read_parallel
from bistil_ds.tasks.sources import parse_sources
from bistil_ds.tasks.task import ReadOptions, Task
from bistil_ds.text.specification import PLAIN_PREFIX

TRAIN, PARALLEL, UNLABELLED = "train_file", "parallel_file", "unlabelled_file"  # flags that name training data


@dataclass(frozen=True)
class TrainingText:
    """A source of training text: that of `flag`, which is two files for `PARALLEL`; `options.flag` is for messages."""

    flag: str
    files: tuple[str, ...]
    options: ReadOptions

    @property
    def name(self) -> str:
        """Return the files as the user names them."""
        return ",".join(self.files)

    def keys(self, task: Task, progress: bool) -> set[str]:
        """Return `Task.text_keys` of all examples.

        Raises:
            InputError: a file cannot be read.
        """
        examples: Iterable[Any]
        if self.flag == PARALLEL:
            source, translations = self.files
            examples = read_parallel(source, translations, self.options.flag)
        elif self.flag == UNLABELLED:
            examples = task.read_unlabelled(self.name, self.options)
        else:
            examples = read_examples(task, self.name, self.options, progress)
        return {key for example in examples for key in task.text_keys(example)}


def recorded_training_texts(models: Iterable[ModelChoice], task: Task) -> tuple[list[TrainingText], list[str]]:
    """Return the training data that the `run.json` of a model or its fine-tunings names, and what is not at hand of it.

    Data that is named for several languages is returned once for each. Runs of other tasks are left out. A missing or
    unreadable `run.json` is no error, because the user did not ask for it. The second list has a message for each
    `run.json` with data that is neither a file nor a folder on this machine; hub data sets are not loaded.
    """
    found: dict[tuple[tuple[str, ...], str | None], TrainingText] = {}
    absent: list[str] = []
    for model in models:
        for folder in (model.folder, *model.sfts):
            record = Path(folder) / RECORD_FILE
            try:
                arguments = read_json(record, "it names no files", keys=("arguments",))["arguments"]
                texts = _texts(arguments, str(record)) if arguments["task"] == task.name else []
            except (OSError, ValueError, KeyError, TypeError, AttributeError):  # InputError is a ValueError
                continue
            missing = [text.name for text in texts if not all(map(_is_here, text.files))]
            found |= {(text.files, text.options.language): text for text in texts if text.name not in missing}
            if missing:
                names = ", ".join(dict.fromkeys(missing))
                absent.append(f"{record}: no files or folders on this machine: {names} (hub data sets are not loaded)")
    return list(found.values()), list(dict.fromkeys(absent))


def _texts(arguments: Mapping[str, Any], record: str) -> list[TrainingText]:
    columns, label_map = (parse_pairs(arguments.get(name), name) for name in ("columns", "label_map"))
    labelled = parse_sources(arguments[TRAIN], f"--{TRAIN}")
    unlabelled = parse_sources(arguments.get(UNLABELLED) or (), f"--{UNLABELLED}")
    parallel = parse_parallel(arguments.get(PARALLEL), f"--{PARALLEL}")
    return [
        *(TrainingText(TRAIN, (file,), ReadOptions(record, columns, label_map, lang)) for lang, file in labelled),
        *(TrainingText(UNLABELLED, (file,), ReadOptions(record, language=lang)) for lang, file in unlabelled),
        *(TrainingText(PARALLEL, tuple(files), ReadOptions(record, language=name)) for name, *files in parallel),
    ]


def _is_here(file: str) -> bool:
    return os.path.exists(file.removeprefix(PLAIN_PREFIX))


def share_seen(texts: Sequence[str], keys: set[str]) -> float:
    """Return the share of the text keys `texts` that are among `keys`."""
    return sum(key in keys for key in texts) / len(texts)
