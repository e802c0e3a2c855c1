"""Test which names are those of languages, and which of them mean the same one."""

from __future__ import annotations

import pytest

from bistil_ds.tasks.languages import language_code, same_language

CODES = {"de": "de", "deu": "de", "ger": "de", "German": "de", "de-AT": "de", "eng_Latn": "en", "zh_TW": "zh"}
CODES |= {"cmn": "zh", "arabic": "ar", "hau": "ha", "quy": "quy", "pcm": "pcm"}


@pytest.mark.parametrize("name", CODES)
def test_codes_and_names_have_one_code(name: str) -> None:
    assert language_code(name) == CODES[name]


@pytest.mark.parametrize("name", ["qa", "nli", "ner", "dev", "val", "squad", "squad-v2", "xx", "test", "", "1"])
def test_names_of_folders_are_no_languages(name: str) -> None:
    assert language_code(name) is None


def test_a_name_without_region_means_every_region() -> None:
    assert same_language("zh", "zh-CN")
    assert same_language("Chinese", "zh_TW")
    assert not same_language("zh-CN", "zh-TW")
    assert same_language("tur", "tr")
    assert not same_language("tr", "de")
    assert same_language("Klingon", "klingon")
