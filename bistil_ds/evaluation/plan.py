"""Read and check everything that an evaluation needs, before any model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bistil_ds.errors import InputError
from bistil_ds.evaluation.embedding.readers import read_sentences
from bistil_ds.evaluation.held_out import HeldOut
from bistil_ds.evaluation.labelled import read_labelled
from bistil_ds.evaluation.training_text import TRAIN, TrainingText, recorded_training_texts, share_seen
from bistil_ds.tasks.candidates import Candidate, ModelCache, ModelChoice, examine
from bistil_ds.tasks.embed.embed import SentenceEmbedding
from bistil_ds.tasks.task import ReadOptions, Task


@dataclass(frozen=True)
class Plan:
    """The checked models and examples of an evaluation.

    Attributes:
        reference: the model that the others are compared with; None if there is only one model.
        train_files: the training data in which the texts of the test examples were looked up.
        unread: messages on training data that is named in a `run.json`, but could not be read or is not at hand.
        cache: loads the models, one at a time.
        label_map: label in the test files → the label that replaces it.
        how: name of a model → how it makes what is measured, in one line, if there is something to say.
    """

    task: Task
    models: tuple[Candidate, ...]
    test_sets: tuple[HeldOut, ...]
    reference: str | None
    train_files: tuple[str, ...]
    cache: ModelCache = field(repr=False)
    unread: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)
    how: Mapping[str, str] = field(default_factory=dict)


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
    read = read_sentences if isinstance(task, SentenceEmbedding) else read_labelled
    test_sets: list[HeldOut] = [
        read(task, source, replace(options, language=language), progress) for language, source in test_files.items()
    ]
    cache = ModelCache(task)
    candidates: dict[str, Candidate] = {}
    made: dict[str, str] = {}
    for choice in sorted(models, key=lambda choice: choice.name == reference):
        loaded = cache.get(choice)  # the reference runs first, and stays in the cache
        candidates[choice.name] = examine(choice, cache, max_length)
        for held in test_sets:
            held.check(loaded, candidates[choice.name], options.flag)
            made[choice.name] = held.describe(loaded, candidates[choice.name])
    known, keys = [], set[str]()
    asked = [TrainingText(TRAIN, (file,), ReadOptions(f"--{TRAIN}", columns, label_map)) for file in train_files]
    texts, unread = (asked, []) if asked else recorded_training_texts(models, task)
    for text in texts:
        try:
            keys |= text.keys(task, progress)
            known.append(text.name)
        except InputError as error:
            if asked:
                raise
            unread.append(str(error))
    test_sets = [held.first(limit) for held in test_sets]
    if known:
        test_sets = [replace(held, seen_in_training=share_seen(held.text_keys(), keys)) for held in test_sets]
    ready = tuple(candidates[choice.name] for choice in models)
    files, told = tuple(dict.fromkeys(known)), {name: text for name, text in made.items() if text}
    return Plan(task, ready, tuple(test_sets), reference, files, cache, tuple(unread), label_map, told)


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
