"""Find the test examples that a model may have seen, because their text also stands in a training file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from bistil_ds.runs.files import read_json
from bistil_ds.runs.record import RECORD_FILE
from bistil_ds.tasks.candidates import ModelChoice
from bistil_ds.tasks.data import parse_pairs, read_examples
from bistil_ds.tasks.sources import parse_sources
from bistil_ds.tasks.task import ReadOptions, Task
from bistil_ds.text.specification import PLAIN_PREFIX


def recorded_train_files(models: Iterable[ModelChoice], task: Task) -> list[tuple[str, ReadOptions]]:
    """Return (file, reading options) for each training file named in the `run.json` of a model or its fine-tunings.

    A file that is named for several languages is returned once for each. Runs of other tasks, and files that are not on
    this machine, are left out. A missing or unreadable `run.json` is no error, because the user did not ask for it.
    """
    found: dict[tuple[str, str], ReadOptions] = {}
    for model in models:
        for folder in (model.folder, *model.sfts):
            record = Path(folder) / RECORD_FILE
            try:
                arguments = read_json(record, "it names no files", keys=("arguments",))["arguments"]
                words = arguments["train_file"] if arguments["task"] == task.name else []
                files = parse_sources(words, "--train_file")
                columns, label_map = (parse_pairs(arguments.get(name), name) for name in ("columns", "label_map"))
            except (OSError, ValueError, KeyError, TypeError, AttributeError):  # InputError is a ValueError
                continue
            for language, file in files:
                if os.path.isfile(file.removeprefix(PLAIN_PREFIX)) and (file, language) not in found:
                    found[file, language] = ReadOptions(str(record), columns, label_map, language)
    return [(file, options) for (file, _), options in found.items()]


def text_keys(task: Task, file: str, options: ReadOptions, progress: bool) -> set[str]:
    """Return `Task.text_key` of every example of the file."""
    return {task.text_key(example) for example in read_examples(task, file, options, progress)}


def share_seen(texts: Sequence[str], keys: set[str]) -> float:
    """Return the share of the text keys `texts` that are among `keys`."""
    return sum(key in keys for key in texts) / len(texts)
