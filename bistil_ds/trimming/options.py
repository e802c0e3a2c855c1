"""How a model is trimmed: which tokens stay, and what is written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.models.licences import check_licence

PUBLISHED_THRESHOLD = 1e-6
SIZES = ("vocab_threshold", "vocab_size", "coverage")
FOLDER_NAME = re.compile(r"[\w-]+", re.ASCII)


@dataclass(frozen=True)
class TrimOptions:
    """Which tokens stay and what is written, as flags of `trim.py`."""

    vocab_threshold: float | None = field(
        default=None,
        metadata={"help": f"Keep tokens at least this probable in a language; default: {PUBLISHED_THRESHOLD:g}."},
    )
    vocab_size: int | None = field(default=None, metadata={"help": "Keep this many tokens instead."})
    coverage: float | None = field(
        default=None,
        metadata={"help": "Keep of each language the fewest tokens that make up this share of its text, such as 0.99."},
    )
    round_to: int = field(
        default=1, metadata={"help": "Round the number of rows up to a multiple, such as 64, by more tokens."}
    )
    text_column: str = field(default="text", metadata={"help": "Column with the text, in data that has columns."})
    max_texts: int | None = field(
        default=None, metadata={"help": "Read the first texts of each language only; stream a hub dataset."}
    )
    each: bool = field(default=False, metadata={"help": "Write a model for each language, in a folder of its name."})
    ids_only: bool = field(
        default=False, metadata={"help": "Write kept ids and tokenizer only; --rebuild makes the model of them."}
    )
    licence: str | None = field(
        default=None, metadata={"help": "Licence for the model card; default: the one on the model's own card."}
    )
    output_dir: str | None = field(default=None, metadata={"help": "Default: runs/trim-<time>."})

    def check(self, languages: Iterable[str]) -> None:
        """Raise InputError, which names the flag, for values that cannot work with any model and texts."""
        given = [f"--{name} {getattr(self, name)}" for name in SIZES if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(f"{given[0]}: has no effect beside {given[1]}; give one of them")
        if self.vocab_threshold is not None and not 0 <= self.vocab_threshold < 1:
            raise InputError(f"{given[0]}: expected a probability, at least 0 and under 1")
        if self.vocab_size is not None and self.vocab_size < 1:
            raise InputError(f"{given[0]}: expected at least 1")
        if self.coverage is not None and not 0 < self.coverage <= 1:
            raise InputError(f"{given[0]}: expected a share above 0 and at most 1, such as 0.99")
        if not 1 <= self.round_to <= 65_536:
            raise InputError(f"--round_to {self.round_to}: expected 1 to 65,536, such as 64")
        if self.max_texts is not None and self.max_texts < 1:
            raise InputError(f"--max_texts {self.max_texts}: expected at least 1")
        check_licence("--licence", self.licence)
        for language in languages:
            if not FOLDER_NAME.fullmatch(language):
                raise InputError(f"--text {language}=...: expected a language's code of letters, digits, _ and -")

    def selection(self) -> dict[str, Any]:
        """Return the arguments of `select_ids`."""
        threshold = PUBLISHED_THRESHOLD if self.vocab_threshold is None else self.vocab_threshold
        sizes = {"threshold": threshold, "vocab_size": self.vocab_size, "coverage": self.coverage}
        return {**sizes, "round_to": self.round_to}

    def said(self) -> str:
        """Return the flags that decide which tokens stay, as the user would write them."""
        given = {name: getattr(self, name) for name in SIZES if getattr(self, name) is not None}
        sizes = given or {SIZES[0]: PUBLISHED_THRESHOLD}
        rounding = {"round_to": self.round_to} if self.round_to > 1 else {}
        return " ".join(f"--{name} {value:g}" for name, value in {**sizes, **rounding}.items())
