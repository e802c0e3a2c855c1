"""Test licences of parts: how flags are read, which forbid commercial use, how they add up."""

from __future__ import annotations

from pathlib import Path

import pytest

from bistil_ds.errors import InputError
from bistil_ds.models.language_codes import bare_language
from bistil_ds.models.licences import check_licence, data_licences, merge_licences, non_commercial

SOURCES = [("en", "/home/me/en/train.txt"), ("ha", "org/name:ha")]


def test_one_licence_is_for_all_data_and_a_named_one_for_its_language() -> None:
    parts = ("data en: train.txt", "data ha: org/name:ha")
    assert data_licences(SOURCES, None) == dict.fromkeys(parts, "unknown")
    assert data_licences(SOURCES, ["mit"]) == dict.fromkeys(parts, "mit")
    assert data_licences(SOURCES, ["mit", "ha=cc-by-nc-4.0"]) == dict(zip(parts, ["mit", "cc-by-nc-4.0"]))
    assert data_licences(SOURCES, ["ha=mit"]) == dict(zip(parts, ["unknown", "mit"]))


def test_the_card_beside_the_data_counts_where_no_word_states_a_licence(tmp_path: Path) -> None:
    for language, licence in (("en", "cc-by-4.0"), ("ha", "unknown")):
        (tmp_path / language).mkdir()
        (tmp_path / language / "train.txt").write_text("x")
        (tmp_path / language / "README.md").write_text(f"---\nlicense: {licence}\n---\n# Data\n")
    sources = [("en", str(tmp_path / "en" / "train.txt")), ("ha", str(tmp_path / "ha" / "train.txt"))]
    parts = ("data en: train.txt", "data ha: train.txt")
    assert data_licences(sources, None) == dict(zip(parts, ["cc-by-4.0", "unknown"]))
    assert data_licences(sources, ["en=mit", "ha=cc0-1.0"]) == dict(zip(parts, ["mit", "cc0-1.0"]))
    assert data_licences([("en", str(tmp_path / "en"))], None) == {"data en: en": "cc-by-4.0"}  # a folder of files


@pytest.mark.parametrize(
    ("word", "said"), [("tr=mit", "no data of tr is given, only of en, ha"), ("en=", "expected a"), ("do good", "good")]
)
def test_a_data_licence_that_fits_nothing_is_refused(word: str, said: str) -> None:
    with pytest.raises(InputError, match=f"--data_licence .*{said}"):
        data_licences(SOURCES, [word])


def test_a_licence_in_words_is_refused_with_its_flag() -> None:
    check_licence("--teacher_licence", None)
    with pytest.raises(InputError, match="--teacher_licence MIT License: expected a licence's name"):
        check_licence("--teacher_licence", "MIT License")


@pytest.mark.parametrize(
    "licence",
    [
        *("cc-by-nc-4.0", "cc-by-nc-sa-3.0", "CC BY-NC 4.0", "mit AND cc-by-nc-4.0", "stable-nc-community"),
        *("fair-noncommercial-research-license", "intel-research", "apple-amlr", "mit AND mrl"),
    ],
)
def test_licences_that_forbid_commercial_use_are_found(licence: str) -> None:
    assert non_commercial({"x": licence}) == {"x": licence}


@pytest.mark.parametrize("licence", ["mit", "apache-2.0", "cc-by-sa-4.0", "ncsa", "unknown", "other", "gpl-3.0"])
def test_other_licences_are_not(licence: str) -> None:
    assert non_commercial({"x": licence}) == {}


def test_what_one_side_knows_wins_and_two_licences_both_hold() -> None:
    one, other = {"a": "unknown", "b": "mit", "c": "mit"}, {"a": "mit", "b": "cc0-1.0", "c": "mit", "d": "unknown"}
    assert merge_licences(one, other) == {"a": "mit", "b": "mit AND cc0-1.0", "c": "mit", "d": "unknown"}


@pytest.mark.parametrize(("code", "bare"), [("hau", "ha"), ("zh-Hant", "zh"), ("pt_BR", "pt"), ("ceb", "ceb")])
def test_codes_of_one_language_compare_as_one(code: str, bare: str) -> None:
    assert bare_language(code) == bare
