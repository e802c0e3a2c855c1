"""Test F1 and exact match against the definition of SQuAD's official evaluation; every value is worked out by hand.

The definition (Rajpurkar et al., arXiv 1606.05250 and 1806.03822): an answer is put in lower case; the 32 ASCII
punctuation characters are deleted; the words a, an and the are replaced by a space; the rest is cut at white space.
Exact match: both word lists are equal. F1: with s words in common, counted with repetition, p words in the answer and
g in the gold answer, precision s/p and recall s/g give 2·s/(p + g). Where a list is empty, F1 is 1 if both are, else 0.
Gold answers without words are dropped; if none is left, the right answer has no words. Each question counts with its
best gold answer, for either score by itself.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from bistil_ds.tasks.examples import Place, Question
from bistil_ds.tasks.qa.metrics import scores
from bistil_ds.tasks.qa.qa import QuestionAnswering

CASES: list[tuple[str, list[str], int, int, int]] = [
    # answer, gold answers, F1 as a fraction (over, under), exact match
    ("Denver Broncos", ["Denver Broncos"], 1, 1, 1),
    ("denver BRONCOS", ["Denver Broncos"], 1, 1, 1),
    ("The Denver Broncos", ["Denver Broncos"], 1, 1, 1),
    ("Denver Broncos.", ["the Denver Broncos"], 1, 1, 1),
    ("  Denver\t\nBroncos ", ["Denver Broncos"], 1, 1, 1),
    ("Broncos", ["Denver Broncos"], 2, 3, 0),  # s 1, p 1, g 2
    ("Broncos Denver", ["Denver Broncos"], 1, 1, 0),  # the order counts in exact match only
    ("Carolina Panthers", ["Denver Broncos"], 0, 1, 0),
    ("the Denver Broncos of Denver", ["Denver Broncos"], 2, 3, 0),  # s 2, p 4, g 2
    ("Denver Denver", ["Denver"], 2, 3, 0),  # one of two is in common: s 1, p 2, g 1
    ("Denver Denver", ["Denver Denver Denver"], 4, 5, 0),  # s 2, p 2, g 3
    ("in 1066 and 1067", ["1066"], 2, 5, 0),  # s 1, p 4, g 1
    ("February 7, 2016", ["February 7 2016"], 1, 1, 1),
    ("10.5", ["105"], 1, 1, 1),  # punctuation goes without a space in its place
    ("U.S.", ["US"], 1, 1, 1),
    ("rock'n'roll", ["rocknroll"], 1, 1, 1),
    ("well-known", ["well known"], 0, 1, 0),  # wellknown is another word
    ("snake_case", ["snakecase"], 1, 1, 1),
    ("$5 + 5 = ~10^1", ["5 5 101"], 1, 1, 1),
    ("`<tag>`", ["tag"], 1, 1, 1),
    ("5 €", ["5"], 2, 3, 0),  # no ASCII punctuation: a word of its own
    ("a", ["an"], 1, 1, 1),  # both without words; no gold answer is left
    ("A1", ["1"], 0, 1, 0),  # no word a
    ("theatre", ["atre"], 0, 1, 0),
    ("vitamin A", ["vitamin"], 1, 1, 1),
    ("The The", ["the"], 1, 1, 1),
    ("a.n", ["an"], 1, 1, 1),  # becomes an, which goes
    ("a,the", ["athe"], 1, 1, 1),  # becomes athe, which stays
    ("café", ["cafe"], 0, 1, 0),  # accents stay
    ("Ü", ["ü"], 1, 1, 1),
    ("black cat", ["dog", "the black cat", "big black cat"], 1, 1, 1),
    ("black", ["dog", "black cat", "one big black cat"], 2, 3, 0),
    ("x y", ["x y z", "x"], 4, 5, 0),  # 4/5 and 2/3
    ("y x", ["x y", "x"], 1, 1, 0),
    ("", [], 1, 1, 1),
    ("", ["Denver"], 0, 1, 0),
    ("the", [], 1, 1, 1),
    ("...", [], 1, 1, 1),
    ("Denver", [], 0, 1, 0),
    ("", ["the", "Denver"], 0, 1, 0),  # `the` has no words and is dropped
    ("", ["the"], 1, 1, 1),
    ("Denver", ["the", "Denver"], 1, 1, 1),
]


@pytest.mark.parametrize(("answer", "gold", "over", "under", "exact"), CASES)
def test_a_question_scores_as_in_the_definition(
    answer: str, gold: list[str], over: int, under: int, exact: int
) -> None:
    for language in ("en", None):
        assert scores(answer, gold, language) == (pytest.approx(over / under, abs=1e-15), exact)


def test_a_set_scores_the_mean_over_its_questions() -> None:
    task = QuestionAnswering()
    questions = [Question("", "", "", tuple((one, 0) for one in gold), Place("x.json", 1)) for _, gold, *_ in CASES]
    total = sum(task.counts(question, answer, "en") for question, (answer, *_) in zip(questions, CASES))
    found = task.metrics(total)  # type: ignore[arg-type]
    f1 = sum(Fraction(over, under) for _, _, over, under, _ in CASES) / len(CASES)
    assert found["f1"] == pytest.approx(float(f1))
    assert found["exact_match"] == pytest.approx(sum(exact for *_, exact in CASES) / len(CASES))
