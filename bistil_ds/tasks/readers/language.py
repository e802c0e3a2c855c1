"""Choose the rows of one language from data that marks the language of each row."""

from __future__ import annotations

from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.tasks.languages import same_language
from bistil_ds.tasks.readers.lines import quote
from bistil_ds.tasks.task import ReadOptions

SHOWN_LANGUAGES = 20


class LanguageFilter:
    """Say which rows to keep: those in `options.language`, or all if it is None; remember which languages were met.

    Args:
        name: the start of messages: flag and file.
    """

    def __init__(self, options: ReadOptions, name: str) -> None:
        self.wanted, self.name = options.language, name
        self._verdicts: dict[str, bool] = {}

    def keeps(self, language: Any, where: str) -> bool:
        """Return whether to keep a row that is marked with `language`.

        Raises:
            InputError: the mark is no text.
        """
        if not isinstance(language, str) or not language.strip():
            raise InputError(f"{where}: language is {quote(language)}; expected the code of a language")
        if language not in self._verdicts:
            self._verdicts[language] = self.wanted is None or same_language(language, self.wanted)
        return self._verdicts[language]

    def check(self) -> None:
        """Raise InputError if there were rows, and none of them was kept."""
        if self._verdicts and not any(self._verdicts.values()):
            there = sorted(self._verdicts)
            shown = ", ".join(quote(one)[1:-1] for one in there[:SHOWN_LANGUAGES]) + (
                f" and {len(there) - SHOWN_LANGUAGES} more" if len(there) > SHOWN_LANGUAGES else ""
            )
            raise InputError(
                f"{self.name} has rows in {shown}, and none in {quote(self.wanted)}; "
                f"name the language before the file, as in {quote(there[0])[1:-1]}=FILE"
            )
