"""The task and the data of a run of teacher tuning or phase 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bistil_ds.tasks import ReadOptions
from bistil_ds.tasks.data import parse_pairs
from bistil_ds.tasks.embed.pairs import Parallel
from bistil_ds.text.specification import PLAIN_PREFIX

WORDS = ("columns", "label_map", "data_licence")  # fields that hold their flags' words, unparsed

Sources = tuple[tuple[str, str], ...]  # (language, file or hub id) of each source


@dataclass(frozen=True)
class TaskDataRequest:
    """The task of a run, and the data that it trains and validates on.

    Args:
        task: the task's name.
        train, dev: training and validation sources. A task that needs a teacher may have no validation sources.
        parallel: pairs of parallel files, for `embed`.
        unlabelled: sources of plain text, on which a student learns its teacher's answers.
        held_out: texts of each language that are held out for validation where there are no validation sources.
        max_length: longest input in tokens; None before the model is known, because the model may take fewer.
        upsample: repeat smaller training files to the size of the largest.
        columns, label_map: the words of these flags, such as `tags=ner_tags` and `DATE=O`.
        data_licence: a licence for all training data, or `LANGUAGE=LICENCE` for each.
    """

    task: str
    train: Sources
    dev: Sources
    parallel: tuple[Parallel, ...] = ()
    unlabelled: Sources = ()
    held_out: int = 500
    max_length: int | None = None
    upsample: bool = True
    columns: tuple[str, ...] | None = None
    label_map: tuple[str, ...] | None = None
    data_licence: tuple[str, ...] | None = None

    def reading(self, flag: str, language: str | None = None) -> ReadOptions:
        """Return the options for reading a file of `flag` (`--train_file` or `--dev_file`) in a language."""
        columns, label_map = parse_pairs(self.columns, "--columns"), parse_pairs(self.label_map, "--label_map")
        return ReadOptions(flag, columns, label_map, language)


def absolute_sources(sources: Sources) -> list[str]:
    """Return each source as `LANGUAGE=FILE`, with an absolute path; a hub id stays as it is."""
    return [f"{language}={_absolute(source)}" for language, source in sources]


def absolute_parallel(parallel: Sequence[Parallel]) -> list[str]:
    """Return each pair of parallel files as `NAME=SOURCE,TRANSLATIONS`, with absolute paths."""
    return [f"{name}={_absolute(source)},{_absolute(translations)}" for name, source, translations in parallel]


def _absolute(source: str) -> str:
    bare = source.removeprefix(PLAIN_PREFIX)
    return source.removesuffix(bare) + str(Path(bare).resolve()) if Path(bare).is_file() else source
