"""Parse data sources as the user writes them: `[LANGUAGE=]FILE`, where FILE may also be a hub data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bistil_ds.console.user_path import user_path
from bistil_ds.errors import InputError
from bistil_ds.text.specification import PLAIN_PREFIX, expanded, parse_specification


def parse_sources(words: Sequence[str], flag: str) -> list[tuple[str, str]]:
    """Return (language, file or hub data set) for each word.

    A file without LANGUAGE= gets the name of its folder as its language or, if the path has no folder, its own name up
    to the first dot.

    Raises:
        InputError: a word has nothing before or after its "=", or names a hub data set without a language.
    """
    found = []
    for word in words:
        language, equals, source = word.partition("=")
        named = bool(equals) and not user_path(word).exists()
        source = expanded(source if named else word)
        if not named:
            path = Path(source.removeprefix(PLAIN_PREFIX))
            is_file = isinstance(parse_specification(source), Path)
            language = (path.parent.name or path.name.partition(".")[0]) if is_file else ""
        if not language or not source:
            raise InputError(f"{flag} {word}: expected LANGUAGE=FILE, such as ha=ha/test.txt")
        found.append((language, source))
    return found
