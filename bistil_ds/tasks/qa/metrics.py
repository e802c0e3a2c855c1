"""F1 and exact match of answers, normalised for their language as in MLQA's evaluation (arXiv 1910.07475).

To normalise an answer is to lowercase it, to remove punctuation (Unicode category P and `string.punctuation`) and
articles, and to leave single spaces. F1 counts words, but single characters in scripts without spaces. MLQA defines the
rules for en, es, de, ar, vi, hi and zh. Beyond MLQA, ja and th are cut into characters like zh, and all other languages
keep their articles. Without a language, the rules of English hold, as in SQuAD. The same is true for a name that is no
language, such as the folder `squad` or `qa`.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

from bistil_ds.tasks.languages import language_code

ARTICLES = {
    "en": re.compile(r"\b(a|an|the)\b"),
    "es": re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b"),
    "de": re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "vi": re.compile(r"\b(của|là|cái|chiếc|những)\b"),
    "ar": re.compile("ال"),  # anywhere in a word, as in MLQA's evaluation
}
SINGLE_CHARACTERS = {
    "zh": re.compile("([一-龥])"),
    "ja": re.compile("([一-龥぀-ヿ])"),
    "th": re.compile("([฀-๿])"),
}


def normalise(answer: str, language: str | None) -> str:
    """Return the words of an answer, as F1 and exact match compare them, joined by single spaces.

    Args:
        language: a code or name that `language_code` knows, such as `zh-CN`, `deu` or `Arabic`; anything else, also
            None, counts as English.
    """
    code = language_code(language or "en") or "en"
    text = "".join(c for c in answer.lower() if c not in string.punctuation and unicodedata.category(c)[0] != "P")
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
    return max(_f1(given, one) for one in gold), float(given in gold)


def _f1(given: str, gold: str) -> float:
    given_words, gold_words = given.split(), gold.split()
    if not given_words or not gold_words:
        return float(given == gold)
    common = sum((Counter(given_words) & Counter(gold_words)).values())
    return 2 * common / (len(given_words) + len(gold_words))
