"""By which language's rules the answers of a set are compared, as the set's name says.

MLQA's evaluation (arXiv 1910.07475) defines the rules of en, es, de, ar, vi, hi and zh. Beyond it, all other languages
keep their articles. Scripts without spaces between words are cut into characters: besides zh and yue these are ja, th,
lo, km, my, bo and dz. Korean has spaces, but writes particles together with words, so F1 counts its characters, as in
KorQuAD's evaluation; exact match still compares words.
"""

from __future__ import annotations

import re

from bistil_ds.tasks.languages import CODE_OF

ARTICLES = {
    "en": re.compile(r"\b(a|an|the)\b"),
    "es": re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b"),
    "de": re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "vi": re.compile(r"\b(của|là|cái|chiếc|những)\b"),
    "ar": re.compile("ال"),  # anywhere in a word, as in MLQA's evaluation
}
CHINESE, TIBETAN = re.compile("([一-龥])"), re.compile("([\u0f00-\u0fff])")
SINGLE_CHARACTERS = {
    "zh": CHINESE,
    "yue": CHINESE,
    "ja": re.compile("([一-龥぀-ヿ])"),
    "th": re.compile("([\u0e00-\u0e7f])"),
    "lo": re.compile("([\u0e80-\u0eff])"),
    "km": re.compile("([\u1780-\u17ff])"),
    "my": re.compile("([\u1000-\u109f])"),
    "bo": TIBETAN,
    "dz": TIBETAN,
}
F1_OF_CHARACTERS = {"ko"}

COUNTRIES = {"cn": "zh", "jp": "ja", "kr": "ko", "vn": "vi", "cz": "cs", "dk": "da", "gr": "el", "ua": "uk"}
FOLDERS = {"run"}  # codes that are common names of folders
SCRIPTS = """arab armn beng cyrl deva ethi geor grek gujr guru hang hans hant hebr jpan khmr knda kore laoo latn mlym
mong mymr olck orya sinh taml telu tfng thai tibt"""
CODE = re.compile(
    rf"(?P<code>[a-z]{{2,3}})([-_](?P<script>{'|'.join(SCRIPTS.split())}))?([-_](?!qa)([a-z]{{2}}|[0-9]{{3}}))?"
)


def code_of(name: str) -> str | None:
    """Return the code of the language whose rules hold for a set of this name; None if it names no language.

    A name may be a folder's, such as `my_data` or `faq`, so it counts as a language only as a whole: a code, or one
    with script or region (`zh-CN`, `sr_Latn_RS`), or an English name. A code of three letters that is not known counts
    with a script (`quc_Latn`). The common mistakes in `COUNTRIES` are taken for the languages that they mean.

    >>> code_of("zh-CN"), code_of("jp"), code_of("German"), code_of("my_data")
    ('zh', 'ja', 'de', None)
    """
    name = name.strip().casefold()
    if name in FOLDERS:
        return None
    if code := COUNTRIES.get(name) or CODE_OF.get(name):
        return code
    match = CODE.fullmatch(name)
    if match is None:
        return None
    unknown = match["code"] if match["script"] and len(match["code"]) == 3 else None
    return CODE_OF.get(match["code"], unknown)
