"""Collect the licences of the parts that a model is made from: models, fine-tunings and data sets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bistil_ds.errors import InputError
from bistil_ds.models.hub_folder import split_revision
from bistil_ds.models.model_card import read_data_card

UNKNOWN = "unknown"  # the hub's own name for a licence that nobody stated
LICENCE_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]*")
NON_COMMERCIAL = re.compile(r"(?<![a-z0-9])(nc|non-?commercial|research)(?![a-z0-9])", re.IGNORECASE)
# licences whose names do not say that they forbid commercial use
ALSO_NON_COMMERCIAL = ("apple-amlr", "deepfloyd-if-license", "mnpl", "mrl")


def public_name(source: str) -> str:
    """Return a hub id as it is, but only the last part of a local path, because model cards publish the result."""
    return source if is_hub_id(source) else Path(source).resolve().name


def is_hub_id(source: str) -> bool:
    """Return whether `source` has the form of a hub id and is not a path on this machine."""
    # `os.path.exists` raises no error even for a text that is too long for a path
    local = os.path.exists(source) or os.path.isabs(source)
    return not local and split_revision(source)[0].count("/") <= 1


def check_licence(flag: str, licence: str | None) -> None:
    """Raise InputError, which names the flag, unless the licence is None or a short name such as cc-by-4.0."""
    if licence is not None and not LICENCE_NAME.fullmatch(licence):
        raise InputError(f"{flag} {licence}: expected a licence's name on the hub, such as cc-by-4.0")


def parse_data_licence(words: Sequence[str] | None, languages: Sequence[str]) -> dict[str, str]:
    """Return language → licence from the words of `--data_licence`, for those languages that a word covers.

    A word is `LANGUAGE=LICENCE`, or a licence alone, for all languages without a word of their own.

    Raises:
        InputError: a word has no licence, or names a language without data.
    """
    for_all: dict[str, str] = {}
    for_one: dict[str, str] = {}
    for word in words or ():
        language, equals, licence = word.rpartition("=")
        check_licence("--data_licence", licence)
        if equals and language not in languages:
            raise InputError(f"--data_licence {word}: no data of {language} is given, only of {', '.join(languages)}")
        if equals:
            for_one[language] = licence
        else:
            for_all = dict.fromkeys(languages, licence)
    return {**for_all, **for_one}


def data_licences(sources: Sequence[tuple[str, str]], words: Sequence[str] | None) -> dict[str, str]:
    """Return `data LANGUAGE: NAME` → licence for each data set.

    The licence comes from `words`, or else from the data set's card (see `read_data_card`), or else it is `unknown`.

    Args:
        sources: (language, file or hub data set) for each data set.
        words: the value of `--data_licence`.
    """
    licences = parse_data_licence(words, [language for language, _ in sources])
    return {
        f"data {language}: {public_name(source)}": licences.get(language) or read_data_card(source).licence or UNKNOWN
        for language, source in sources
    }


def merge_licences(*all_parts: Mapping[str, str]) -> dict[str, str]:
    """Merge mappings of part → licence: a known licence replaces `unknown`; two different ones become `A AND B`."""
    merged: dict[str, str] = {}
    for parts in all_parts:
        for part, licence in parts.items():
            known = [one for one in (merged.get(part), licence) if one not in (None, UNKNOWN)]
            merged[part] = " AND ".join(dict.fromkeys(str(one) for one in known)) or UNKNOWN
    return merged


def joint_licence(licences: Mapping[str, str]) -> str:
    """Return the licence of something that is made of parts: those of the parts, joined by AND; `unknown` without."""
    known = [licence for licence in licences.values() if licence != UNKNOWN]
    return " AND ".join(dict.fromkeys(known)) or UNKNOWN


def non_commercial(licences: Mapping[str, str]) -> dict[str, str]:
    """Return those parts whose licence forbids commercial use, as far as its name tells."""
    return {part: licence for part, licence in licences.items() if _forbids_commerce(licence)}


def _forbids_commerce(licence: str) -> bool:
    names = licence.lower().split(" and ")
    return bool(NON_COMMERCIAL.search(licence)) or any(name in ALSO_NON_COMMERCIAL for name in names)
