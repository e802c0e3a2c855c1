"""Choose the rows of one language from data that marks the language of each row."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

from bistil_ds.errors import InputError, Notice
from bistil_ds.tasks.languages import same_language
from bistil_ds.tasks.readers.lines import quote
from bistil_ds.tasks.task import ReadOptions

SHOWN_LANGUAGES = 20


class LanguageFilter:
    """Filter that keeps the rows in `options.language`, or all if that is None, and counts the rows of each language.

    Args:
        name: the start of messages: flag and file.
    """

    def __init__(self, options: ReadOptions, name: str) -> None:
        self.wanted, self.name = options.language, name
        self._verdicts: dict[str, bool] = {}
        self._rows: Counter[str] = Counter()

    def keeps(self, language: Any, where: str) -> bool:
        """Return whether to keep a row that is marked with `language`.

        Raises:
            InputError: `language` is no text, or blank.
        """
        if not isinstance(language, str) or not language.strip():
            raise InputError(f"{where}: language is {quote(language)}; expected the code of a language")
        if language not in self._verdicts:
            self._verdicts[language] = self.wanted is None or same_language(language, self.wanted)
        self._rows[language] += 1
        return self._verdicts[language]

    def check(self) -> None:
        """Warn if rows were left out: how many, and in which languages. Call this after the last row.

        Raises:
            InputError: there were rows, and none of them was kept.
        """
        left_out = sorted(language for language, kept in self._verdicts.items() if not kept)
        if not left_out:
            return
        shown = ", ".join(quote(one)[1:-1] for one in left_out[:SHOWN_LANGUAGES]) + (
            f" and {len(left_out) - SHOWN_LANGUAGES} more" if len(left_out) > SHOWN_LANGUAGES else ""
        )
        dropped = sum(self._rows[language] for language in left_out)
        kept = self._rows.total() - dropped
        if not kept:
            raise InputError(
                f"{self.name} has rows in {shown}, and none in {quote(self.wanted)}; "
                f"name the language before the file, as in {quote(left_out[0])[1:-1]}=FILE"
            )
        message = (
            f"{self.name}: read {kept} rows in {quote(self.wanted)}; left out {dropped} in other languages ({shown})"
        )
        warnings.warn(message, Notice, stacklevel=2)
