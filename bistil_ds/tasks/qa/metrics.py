"""F1 and exact match of answers, normalised for their language as in MLQA's evaluation (arXiv 1910.07475).

To normalise an answer is to write it in NFC, to lowercase it, to remove punctuation (Unicode category P and
`string.punctuation`) and articles, and to leave single spaces. F1 counts words, but single characters in scripts
without spaces. `rules.py` says what holds in which language. Without a language, the rules of English hold, as in
SQuAD. The same is true for a name that is no language, such as the folder `squad` or `qa`.
"""

from __future__ import annotations

import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

from bistil_ds.tasks.qa.rules import ARTICLES, F1_OF_CHARACTERS, SINGLE_CHARACTERS, code_of


def normalise(answer: str, language: str | None) -> str:
    """Return the words of an answer, as F1 and exact match compare them, joined by single spaces.

    Args:
        language: a code or name that `code_of` knows, such as `zh-CN`, `deu` or `Arabic`; anything else, also None,
            counts as English.
    """
    code = code_of(language or "en") or "en"
    answer = unicodedata.normalize("NFC", answer).lower()
    text = "".join(c for c in answer if c not in string.punctuation and unicodedata.category(c)[0] != "P")
    if code in ARTICLES:
        text = ARTICLES[code].sub(" ", text)
    if code in SINGLE_CHARACTERS:
        text = SINGLE_CHARACTERS[code].sub(r" \1 ", text)
    return " ".join(text.split())


def scores(answer: str, gold_answers: Sequence[str], language: str | None) -> tuple[float, float]:
    """Return F1 and exact match; each is the best value over the gold answers.

    As in SQuAD 2.0, gold answers that are empty after normalising do not count. If no other is left, an answer that is
    empty after normalising is right.
    """
    given = normalise(answer, language)
    gold = [words for one in gold_answers if (words := normalise(one, language))] or [""]
    cut = _characters if code_of(language or "en") in F1_OF_CHARACTERS else str.split
    return max(_f1(cut(given), cut(one)) for one in gold), float(given in gold)


def _characters(words: str) -> list[str]:
    return list(words.replace(" ", ""))


def _f1(given: Sequence[str], gold: Sequence[str]) -> float:
    if not given or not gold:
        return float(given == gold)
    common = sum((Counter(given) & Counter(gold)).values())
    return 2 * common / (len(given) + len(gold))
