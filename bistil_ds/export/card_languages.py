"""The section of a model card on languages: which the student knows, and how it tokenises sample sentences."""

from __future__ import annotations

from collections.abc import Sequence

from bistil_ds.console.untrusted import in_markdown
from bistil_ds.errors import InputError
from bistil_ds.export.card_facts import CardFacts
from bistil_ds.models.language_codes import bare_language
from bistil_ds.models.licences import UNKNOWN
from bistil_ds.tasks.sources import parse_sources
from bistil_ds.text.loading import load_corpus
from bistil_ds.text.options import NO_FLAG, TextOptions
from bistil_ds.text.specification import parse_texts
from bistil_ds.vocabulary.report import sample_texts

FLAG = "--language_samples"


def read_samples(words: Sequence[str] | None) -> dict[str, list[str]]:
    """Return language → sentences for the words of `--language_samples`, which are `LANGUAGE=FILE`.

    FILE may also be a hub data set. From a long file, 2,000 evenly spaced lines are taken.

    Raises:
        InputError: a file cannot be read, or a language is named twice.
    """
    sources = parse_sources(words or (), FLAG)
    if twice := {language for language, _ in sources if [code for code, _ in sources].count(language) > 1}:
        raise InputError(f"{FLAG}: several files of {min(twice)}; give one for each language")
    options = TextOptions(FLAG, advice=NO_FLAG)
    return {language: sample_texts(load_corpus(*parse_texts(source, options))) for language, source in sources}


def languages_section(facts: CardFacts) -> str:
    """Return the section on languages, or "" if the base is not a student of this package and there are no samples."""
    parts = ["## Languages"]
    if facts.base.teacher:
        parts.append(_forgotten(facts))
    if facts.coverage:
        parts.append(_table(facts))
    return "\n\n".join(parts) if len(parts) > 1 else ""


def dropped_languages(teacher_languages: Sequence[str], kept: Sequence[str]) -> list[str]:
    """Return the teacher's languages that are not in `kept`; `hau` and `ha`, for example, are one language."""
    known = {bare_language(code) for code in kept}
    return [code for code in teacher_languages if bare_language(code) not in known]


def _forgotten(facts: CardFacts) -> str:
    base = facts.base
    said = f"The student was made from text of {_names(base.languages) or 'languages that are unknown'} only."
    if base.vocabulary:
        said += " Its vocabulary was trimmed to that text: other languages are cut into more pieces, some unknown."
    dropped = dropped_languages(base.teacher_languages, base.languages)
    if dropped:
        said += f" Of its teacher's languages it no longer knows {len(dropped)}: {_names(dropped)}."
    elif not base.teacher_languages:
        said += " Which other languages its teacher knew is unknown; the student no longer knows them."
    if dropped and not any(_among(language, dropped) for language in facts.coverage):
        said += " How many of their pieces are unknown was not measured."
    return said


def _table(facts: CardFacts) -> str:
    rows = [
        "Pieces of sample sentences. An unknown piece, in some vocabularies a whole word, cannot be read by the model. "
        "A small share does not mean that the model knows the language: the letters may be those of another one.",
        "",
        "| language | known | sentences | unknown pieces | pieces a word |",
        "|---|---|---:|---:|---:|",
    ]
    for language, found in facts.coverage.items():
        known = UNKNOWN if not facts.base.teacher else "yes" if _among(language, facts.base.languages) else "no"
        name = in_markdown(language)
        rows.append(f"| {name} | {known} | {found.texts:,} | {found.unknown:.2%} | {found.fertility:.2f} |")
    return "\n".join(rows)


def _names(codes: Sequence[str]) -> str:
    return ", ".join(map(in_markdown, codes))


def _among(language: str, codes: Sequence[str]) -> bool:
    return bare_language(language) in {bare_language(code) for code in codes}
