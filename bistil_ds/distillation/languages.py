"""The languages and texts of a run: those that flags name, in either of two ways, and those that a record names.

`--text` and `--language_sft` name one language or more. The flags of `OF_SIDES` name two, source and target. Two
languages are trained on alike, whichever way names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bistil_ds.distillation.request import OF_SIDES, SIDES, Corpus, DistillationRequest, absolute
from bistil_ds.errors import InputError
from bistil_ds.text.specification import parse_by_language

TEXT_EXAMPLE, SFT_EXAMPLE = "tr=tr.txt", "tr=runs/tr-sft"
MATERIALS = ("teacher_model", *(name for name in OF_SIDES if not name.endswith("_sft")))
CANNOT_CHANGE = "and a resumed run cannot change it"


def names_nothing(flags: Mapping[str, Any]) -> bool:
    """Return whether the flags name neither a teacher nor a text, so that the run is one on the embedded sample."""
    return not any(flags[name] for name in (*MATERIALS, "text", "language_sft"))


def check_materials(flags: Mapping[str, Any]) -> None:
    """Raise InputError unless the flags name a teacher and, in one of the two ways, texts of different languages."""
    of_sides = [f"--{name}" for name in OF_SIDES if flags[name]]
    if flags["text"] or flags["language_sft"] or not of_sides:
        missing = [f"--{name}" for name in ("teacher_model", "text") if not flags[name]]
        if of_sides:
            raise InputError(f"{' '.join(of_sides)}: --text and --language_sft name languages too; use one way only")
        if missing:
            raise InputError(
                f"{' '.join(missing)} missing: give --teacher_model, and --text with LANGUAGE=FILE for each language, "
                "or neither"
            )
        return
    missing = [f"--{name}" for name in MATERIALS if not flags[name]]
    if missing:
        raise InputError(f"{' '.join(missing)} missing: give all of {', '.join('--' + n for n in MATERIALS)}, or none")
    if flags["source_language"] == flags["target_language"]:
        language = flags["target_language"]
        raise InputError(f"--target_language {language}: is the source language too; give two languages")


def languages_of(flags: Mapping[str, Any]) -> list[str]:
    """Return the codes of the languages that the flags name.

    Raises:
        InputError: a word of `--text` is not LANGUAGE=FILE, or a language is given twice.
    """
    if flags["text"]:
        return list(parse_by_language(flags["text"], "--text", TEXT_EXAMPLE))
    return [str(flags[f"{side}_language"]) for side in SIDES]


def corpora_of(flags: Mapping[str, Any]) -> tuple[Corpus, ...]:
    """Return the texts that the flags name; `check_materials` must have accepted the flags.

    Raises:
        InputError: a word of `--text` or `--language_sft` has another form, names a language twice, or names a
            fine-tuning of a language without text.
    """
    column, most = flags["text_column"], flags["max_texts"]
    if not flags["text"]:
        named = [(side, *(flags[f"{side}_{part}"] for part in ("language", "file", "sft"))) for side in SIDES]
        return tuple(Corpus(str(language), str(file), column, sft, most, side) for side, language, file, sft in named)
    files = parse_by_language(flags["text"], "--text", TEXT_EXAMPLE)
    sfts = parse_by_language(flags["language_sft"] or (), "--language_sft", SFT_EXAMPLE)
    for language, sft in sfts.items():
        if language not in files:
            raise InputError(
                f"--language_sft {language}={sft}: no text of {language} is given, only of {', '.join(files)}"
            )
    return tuple(Corpus(language, file, column, sfts.get(language), most) for language, file in files.items())


def recorded_languages(arguments: Mapping[str, Any]) -> list[str]:
    """Return the codes of a recorded run's languages, in order."""
    return [language for language, _, _ in _recorded(arguments)]


def check_same_texts(
    request: DistillationRequest,
    found: Mapping[str, Any],
    recorded: Mapping[str, Any],
    data: Mapping[str, Any],
    folder: Path,
) -> None:
    """Raise InputError unless a request has the languages, fine-tunings and texts of a run that it resumes.

    A text may have moved; its content and how it is read are compared, or for a hub data set its id.

    Args:
        found: the request's data, as they would be recorded.
        recorded, data: arguments and data of the run's record; the run may have named its languages in the other way.
        folder: the folder of the run.
    """
    started = _recorded(recorded)
    languages = [language for language, _, _ in started]
    if request.languages != languages:
        flag = "--text" if request.corpora[0].side is None else "--source_language --target_language"
        asked, first = " ".join(request.languages), " ".join(map(str, languages))
        raise InputError(f"{flag}: {asked}: the run in {folder} was started with {first}, {CANNOT_CHANGE}")
    for corpus, (_, sft, key) in zip(request.corpora, started, strict=True):
        if absolute(corpus.sft) != sft:
            raise InputError(f"{corpus.sft_flag}: the run in {folder} was started with {sft}, {CANNOT_CHANGE}")
        text, before = found[corpus.key], data[key] if isinstance(data.get(key), dict) else {}
        if (text["sha256"] or text["file"]) != (before.get("sha256") or before.get("file")):
            raise InputError(f"{corpus.file_flag}: not the text that the run in {folder} was started with")
        if before.get("read") not in (None, text["read"]):  # earlier versions did not record it
            forms = ", ".join(sorted({one["form"] for one in text["read"] or ()}))
            raise InputError(
                f"{corpus.file_flag}: is read as {forms}, unlike {before.get('file')} when the run in {folder} was "
                "started; give it as it was then"
            )


def _recorded(arguments: Mapping[str, Any]) -> list[tuple[Any, Any, str]]:
    """Return language, fine-tuning and key in the record's data for each text of a recorded run, in order."""
    if isinstance(texts := arguments.get("text"), dict):
        sfts = arguments.get("language_sft") or {}
        return [(language, sfts.get(language), language) for language in texts]
    return [(arguments.get(f"{side}_language"), arguments.get(f"{side}_sft"), side) for side in SIDES]
