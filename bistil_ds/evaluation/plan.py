"""Read and check everything that an evaluation needs, before any model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.evaluation.training_text import recorded_train_files, share_seen, text_keys
from bistil_ds.tasks.candidates import Candidate, ModelCache, ModelChoice, examine
from bistil_ds.tasks.data import read_examples
from bistil_ds.tasks.task import ReadOptions, Task
from bistil_ds.text.corpus import corpus_hash


@dataclass(frozen=True)
class HeldOut:
    """The test examples of one language.

    Attributes:
        language: the language's name, which tables and `Task.counts` use.
        source: the file or hub data set.
        sha256: hash of the file or folder; None for a hub data set.
        in_source: number of examples in the source.
        examples: the first examples of the source, or all.
        seen_in_training: share of `examples` whose text also stands in a training file; None if no training file is
            known.
    """

    language: str
    source: str
    sha256: str | None
    in_source: int
    examples: list[Any] = field(repr=False)
    seen_in_training: float | None = None


@dataclass(frozen=True)
class Plan:
    """The checked models and examples of an evaluation.

    Attributes:
        reference: the model that the others are compared with; None if there is only one model.
        train_files: the training files in which the texts of the test examples were looked up.
        unread: error messages, one for each training file that is named in a `run.json` but could not be read.
        cache: loads the models, one at a time.
        label_map: label in the test files → the label that replaces it.
    """

    task: Task
    models: tuple[Candidate, ...]
    test_sets: tuple[HeldOut, ...]
    reference: str | None
    train_files: tuple[str, ...]
    cache: ModelCache = field(repr=False)
    unread: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)


def prepare(
    models: Sequence[ModelChoice],
    test_files: Mapping[str, str],
    task: Task,
    *,
    reference: str | None = None,
    train_files: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    label_map: Mapping[str, str] | None = None,
    max_length: int | None = None,
    limit: int | None = None,
    progress: bool = True,
) -> Plan:
    """Read every file and load every model once, so that unusable input is reported before any model runs.

    Raises:
        InputError: a file, model or fine-tuning cannot be used; a test file has a label that a model was not trained
            on; or `reference` is none of the models.
    """
    reference = _reference(reference, [model.name for model in models])
    columns, label_map = columns or {}, label_map or {}
    options = ReadOptions("--test_file", columns, label_map)
    examples = {
        language: read_examples(task, source, replace(options, language=language), progress)
        for language, source in test_files.items()
    }
    cache = ModelCache(task)
    candidates = []
    for choice in reversed(models):  # the first model is loaded last and stays in the cache, because it runs first
        candidates.append(examine(choice, cache, max_length))
        labels, length, tokenizer = candidates[-1].labels, candidates[-1].max_length, cache.get(choice).tokenizer
        for each in examples.values():
            task.check_labels(each, labels, options.flag)
            task.features(each[:1], tokenizer, labels, length, training=False)  # raises if the length is too short
    known, unread, keys = [], [], set[str]()
    asked = [(file, ReadOptions("--train_file", columns, label_map)) for file in train_files]
    for file, how in asked or recorded_train_files(models, task):
        try:
            keys |= text_keys(task, file, how, progress)
            known.append(file)
        except InputError as error:
            if asked:
                raise
            unread.append(str(error))
    test_sets = []
    for language, source in test_files.items():
        first = examples[language][:limit]
        seen = share_seen(task, first, keys) if known else None
        sha256 = corpus_hash(source, options.flag)
        test_sets.append(HeldOut(language, source, sha256, len(examples[language]), first, seen))
    ready = tuple(reversed(candidates))
    return Plan(task, ready, tuple(test_sets), reference, tuple(dict.fromkeys(known)), cache, tuple(unread), label_map)


def check_numbers(*, batch_size: int, limit: int | None, resamples: int, seed: int) -> None:
    """Raise InputError if a size or count is below 1 or the seed is below 0."""
    for name, value in {"batch_size": batch_size, "limit": limit, "resamples": resamples}.items():
        if value is not None and value < 1:
            raise InputError(f"--{name} {value}: expected at least 1")
    if seed < 0:
        raise InputError(f"--seed {seed}: expected 0 or above")


def _reference(wanted: str | None, names: Sequence[str]) -> str | None:
    if wanted is not None and wanted not in names:
        raise InputError(f"--reference {wanted}: is none of the models, which are {', '.join(names)}")
    return (wanted or names[0]) if len(names) > 1 else None
