"""Test that answers are compared as in MLQA's evaluation; all numbers are worked out by hand."""

from __future__ import annotations

import pytest

from bistil_ds.tasks.qa.metrics import normalise, scores


@pytest.mark.parametrize(
    ("language", "answer", "expected"),
    [
        ("en", "The  Norman-French, a language!", "normanfrench language"),
        ("en", "theatre in Athens", "theatre in athens"),  # only whole words are articles
        ("en", "«1066»—¿or “1067”?", "1066or 1067"),  # punctuation of any script is removed
        ("en", "$100 + 5 %", "100 5"),  # $ and + count as ASCII punctuation, although Unicode calls them symbols
        ("en", "100 €", "100 €"),
        ("es", "Los gatos de la Región", "gatos de región"),
        ("de", "Die Stadt des Königs", "stadt königs"),
        ("de", "Straße Ü", "straße ü"),
        ("vi", "Những con mèo của Lan", "con mèo lan"),
        ("ar", "الكتاب الكبير", "كتاب كبير"),
        ("hi", "राम, का घर।", "राम का घर"),
        ("zh", "北京在1949年 PRC", "北 京 在 1949 年 prc"),
        ("zh-CN", "北京", "北 京"),
        ("ja", "東京タワー", "東 京 タ ワ ー"),
        ("th", "ไทย", "ไ ท ย"),
        ("tr", "The Bir Kedi", "the bir kedi"),  # no articles are known for this language
        (None, "The cat", "cat"),
        ("squad", "The cat", "cat"),  # the name of a folder is no language
        ("squad-v2", "The cat", "cat"),
        ("qa", "The cat", "cat"),
        ("dev", "The cat", "cat"),
        ("sw", "The cat", "the cat"),
        ("quy", "The cat", "the cat"),
        ("my_data", "The cat", "cat"),  # neither Burmese, nor Norwegian, nor languages without articles
        ("no_answers", "The cat", "cat"),
        ("my_qa", "The cat", "cat"),
        ("run", "The cat", "cat"),
        ("faq", "The cat", "cat"),
        ("law", "The cat", "cat"),
        ("quc_Latn", "The cat", "the cat"),  # a code with its script is one, known or not
        ("run_Latn", "The cat", "the cat"),
        ("sr-Latn-RS", "The cat", "the cat"),
        ("es-419", "Los gatos", "gatos"),
        ("jp", "東京", "東 京"),  # countries for languages
        ("cn", "北京", "北 京"),
        ("yue", "北京", "北 京"),
        ("Cantonese", "北京", "北 京"),
        ("my", "မြန်မာ", "မ ြ န ် မ ာ"),
        ("km", "ខ្មែរ", "ខ ្ ម ែ រ"),
        ("lo", "ລາວ", "ລ າ ວ"),
        ("fr", "cafe\u0301", "caf\u00e9"),  # in whichever Unicode form context and answer are
        ("bo", "བོད་ཡིག", "བ ོ ད ཡ ི ག"),
        ("deu", "Die Katze", "katze"),  # the rules of German, by any of its codes
        ("ger-AT", "Die Katze", "katze"),
    ],
)
def test_normalisation(language: str | None, answer: str, expected: str) -> None:
    assert normalise(answer, language) == expected


def test_f1_counts_shared_words_with_repetition() -> None:
    # answer: new york new (3), gold: york city new jersey (4), shared: york, new (2), so F1 = 2 * 2 / 7
    assert scores("New York, new", ["York City New Jersey"], "en") == (pytest.approx(4 / 7), 0.0)


def test_the_gold_answer_that_fits_best_counts_for_each_score() -> None:
    assert scores("the black cat", ["dog", "black cat", "a big black cat"], "en") == (1.0, 1.0)
    f1, exact = scores("black", ["dog", "black cat", "big black cat"], "en")
    assert (f1, exact) == (pytest.approx(2 / 3), 0.0)


def test_articles_of_another_language_stay() -> None:
    assert scores("die Katze", ["Katze"], "de") == (1.0, 1.0)
    assert scores("die Katze", ["Katze"], "en") == (pytest.approx(2 / 3), 0.0)


def test_characters_are_the_words_of_a_script_without_spaces() -> None:
    assert scores("北京市", ["北京"], "zh") == (pytest.approx(4 / 5), 0.0)
    assert scores("北京市", ["北京"], "en") == (0.0, 0.0)


@pytest.mark.parametrize("language", ["ko", "kr", "Korean"])
def test_f1_counts_characters_of_korean_as_in_korquad_and_exact_match_its_words(language: str) -> None:
    assert scores("서울에서", ["서울"], language) == (pytest.approx(4 / 6), 0.0)
    assert scores("2월 7일", ["2월7일"], language) == (1.0, 0.0)


def test_a_question_without_an_answer_wants_none() -> None:
    assert scores("", [], "en") == (1.0, 1.0)
    assert scores("something", [], "en") == (0.0, 0.0)
    assert scores("", ["something"], "en") == (0.0, 0.0)
