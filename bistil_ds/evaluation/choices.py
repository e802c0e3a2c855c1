"""Parse the user's choices: models as NAME=FOLDER+SFT+SFT, test files as LANGUAGE=FILE."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from bistil_ds.console.user_path import user_path
from bistil_ds.errors import InputError
from bistil_ds.evaluation.embedding.readers import parallel_files
from bistil_ds.tasks.candidates import ModelChoice
from bistil_ds.tasks.sources import parse_sources


def parse_models(words: Sequence[str], sfts: Sequence[str] = ()) -> list[ModelChoice]:
    """Parse models, each written as `[NAME=]FOLDER[+SFT...]`.

    Args:
        sfts: sparse fine-tunings (SFTs) to add to the model's own; allowed only if there is one model.

    Raises:
        InputError: two models have the same name; a name, folder or SFT is empty; or there are `sfts` and several
            models.
    """
    if sfts and len(words) > 1:
        raise InputError("--sft: goes with one --model; with several write NAME=FOLDER+SFT for each")
    choices = []
    for word in words:
        name, equals, paths = word.partition("=")
        named = bool(equals) and not user_path(word).exists()
        folder, *own = _paths(paths if named else word)
        name = name if named else _last_part(folder)
        if not all([name, folder, *own]):
            raise InputError(f"--model {word}: expected NAME=FOLDER or NAME=FOLDER+SFT")
        choices.append(ModelChoice(name, folder, (*own, *map(_home, sfts))))
    refuse_twice([choice.name for choice in choices], "--model", "NAME=FOLDER")
    return choices


def parse_test_files(words: Sequence[str]) -> dict[str, str]:
    """Return language → file, folder, hub data set, or two parallel files with a comma between them.

    Raises:
        InputError: `parse_sources` refuses a word, two words name the same language, or two parallel files have no
            name.
    """
    if unnamed := next((word for word in words if parallel_files(word) and "=" not in word), None):
        raise InputError(f"--test_file {unnamed}: two files need a name; write NAME={unnamed}")
    sources = parse_sources(words, "--test_file")
    refuse_twice([language for language, _ in sources], "--test_file", "LANGUAGE=FILE")
    return dict(sources)


def refuse_twice(names: Iterable[str], flag: str, form: str) -> None:
    """Raise InputError if two names are equal."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{flag}: two are called {name}; give each its own name with {form}")
        seen.add(name)


def _paths(text: str) -> list[str]:
    """Split a text into paths at each `+`, except where the `+` is part of an existing path."""
    parts, paths = text.split("+"), []
    while parts:
        lengths = range(len(parts), 1, -1)
        taken = next((n for n in lengths if user_path("+".join(parts[:n])).exists()), 1)
        paths.append(_home("+".join(parts[:taken])))
        parts = parts[taken:]
    return paths


def _home(path: str) -> str:
    return os.path.expanduser(path)


def _last_part(folder: str) -> str:
    return Path(folder).name or Path(folder).resolve().name
