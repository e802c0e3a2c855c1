"""Turkish morphology: vowel harmony, case, possession, tense and person.

In suffix templates, A is a or e; I is ı, i, u or ü; D is d or t. The letters (y), (s) and (n) are used only after a
vowel, and (I) only after a consonant.
"""

from __future__ import annotations

_BACK, _ROUND, _VOWELS = set("aıou"), set("oöuü"), set("aeıioöuü")
_VOICELESS = set("fstkçşhp")
# verbs of one syllable that have I, not A, in the aorist
_AORIST_I = {"al", "bil", "bul", "dur", "gel", "gör", "kal", "ol", "öl", "ver", "var", "vur"}
_CASES = {"nom": "", "acc": "(y)I", "dat": "(y)A", "loc": "DA", "abl": "DAn", "gen": "(n)In", "ins": "(y)lA"}
_AFTER_POSSESSIVE = {"nom": "", "acc": "nI", "dat": "nA", "loc": "nDA", "abl": "nDAn", "gen": "nIn", "ins": "ylA"}
_POSSESSIVES = {(1, False): "(I)m", (2, False): "(I)n", (3, False): "(s)I", (1, True): "(I)mIz", (2, True): "(I)nIz"}
# personal endings: _PAST after the past and the conditional, _OTHER after all else
_PAST = {(1, False): "m", (2, False): "n", (1, True): "k", (2, True): "nIz", (3, True): "lAr"}
_OTHER = {(1, False): "(y)Im", (2, False): "sIn", (1, True): "(y)Iz", (2, True): "sInIz", (3, True): "lAr"}
_PRONOUNS = {
    (1, False): ("ben", "beni", "bana", "benden", "benim"),
    (2, False): ("sen", "seni", "sana", "senden", "senin"),
    (3, False): ("o", "onu", "ona", "ondan", "onun"),
    (1, True): ("biz", "bizi", "bize", "bizden", "bizim"),
    (2, True): ("siz", "sizi", "size", "sizden", "sizin"),
    (3, True): ("onlar", "onları", "onlara", "onlardan", "onların"),
}

Agreement = tuple[int, bool]  # person, plural


def _last_vowel(stem: str) -> str:
    return next(c for c in reversed(stem.lower()) if c in _VOWELS)


def ends_in_vowel(stem: str) -> bool:
    """Return whether the stem ends in a vowel, after which a suffix needs its buffer consonant."""
    return stem[-1].lower() in _VOWELS


def attach(stem: str, template: str) -> str:
    """Return `stem` with the suffix of a template: attach("ev", "lAr") is "evler"."""
    i = 0
    while i < len(template):
        letter = template[i]
        if letter == "(":
            letter, i = template[i + 1], i + 2
            if ends_in_vowel(stem) == (letter == "I"):
                letter = ""
        if letter in ("A", "I"):
            vowel = _last_vowel(stem)
            back, rounded = vowel in _BACK, vowel in _ROUND
            high = ("u" if back else "ü") if rounded else ("ı" if back else "i")
            letter = ("a" if back else "e") if letter == "A" else high
        elif letter == "D":
            letter = "t" if stem[-1].lower() in _VOICELESS else "d"
        stem += letter
        i += 1
    return stem


def _softened(stem: str, soft: str, template: str) -> str:
    """Attach a suffix to `soft` (the stem before a vowel) if the suffix would begin with a vowel, else to `stem`."""
    bare = template[3:] if template.startswith(("(y)", "(s)", "(n)")) and not ends_in_vowel(soft) else template
    return attach(soft if bare[:1] in ("A", "I") or bare.startswith("(I)") else stem, template)


def noun_form(stem: str, soft: str, plural: bool = False, owner: Agreement | None = None, case: str = "nom") -> str:
    """Return a noun with number, possessive (of `owner`) and case (see `_CASES`).

    soft: the noun's stem before a vowel.
    """
    if plural or owner == (3, True):
        stem = soft = attach(stem, "lAr")
    if owner:
        suffix = "I" if owner == (3, True) else _POSSESSIVES[owner]
        stem = soft = _softened(stem, soft, suffix)
    cases = _AFTER_POSSESSIVE if owner and owner[0] == 3 else _CASES
    return _softened(stem, soft, cases[case]) if case != "nom" else stem


def name_form(name: str, case: str, compound: bool) -> str:
    """Return a proper name with its case ending after an apostrophe.

    compound: whether the name ends in a possessive suffix (Dünya Bankası).
    """
    suffix = (_AFTER_POSSESSIVE if compound else _CASES)[case]
    return name if not suffix else name + "'" + attach(name, suffix)[len(name) :]


def pronoun_form(who: Agreement, case: str) -> str:
    """Return a personal pronoun in nom, acc, dat, abl or gen."""
    return _PRONOUNS[who][("nom", "acc", "dat", "abl", "gen").index(case)]


def progressive(stem: str, soft: str, negative: bool) -> str:
    """Return the progressive, -(I)yor, without a person: gelmiyor, bekliyor, okuyor, gidiyor."""
    stem = attach(stem, "mA") if negative else soft
    if stem[-1] in "ae":  # a final a or e becomes ı, i, u or ü: de-, ye-, bekle-, -mA
        root = stem[:-1]
        stem = attach(root, "I") if any(c in _VOWELS for c in root) else root + "i"
        return stem + "yor"
    return attach(stem, "(I)yor")


def aorist(stem: str, soft: str, negative: bool, who: Agreement) -> str:
    """Return the aorist with a person: okur, gelir, gitmez, bilmem."""
    if negative:
        irregular = {(1, False): "mAm", (1, True): "mAyIz"}.get(who)
        return attach(stem, irregular) if irregular else attach(attach(stem, "mAz"), _OTHER.get(who, ""))
    return attach(aorist_stem(stem, soft), _OTHER.get(who, ""))


def aorist_stem(stem: str, soft: str) -> str:
    """Return the aorist without a person: okur, gider, pişirir."""
    if ends_in_vowel(stem):
        return stem + "r"
    short = sum(c in _VOWELS for c in stem) == 1 or soft.endswith("ed")  # kaybet- goes like et-
    return attach(soft, "Ar" if short and stem not in _AORIST_I else "Ir")


def _before_vowel(stem: str, soft: str, negative: bool) -> str:
    """Return the stem before -(y)AcAk, -(y)An and -(y)A: gid-, oku-, yi-, gelme-."""
    if negative:
        return attach(stem, "mA")
    return stem[:-1] + "i" if stem in ("ye", "de") else soft


def particle(form: str, person: str = "") -> str:
    """Return the question particle mI in harmony with the word before it, with a personal ending."""
    return attach(attach(form, " mI"), person).split(" ")[1]


def verb_form(stem: str, soft: str, tense: str, negative: bool, who: Agreement, question: bool = False) -> list[str]:
    """Return a finite verb as [verb], or in a question as [verb, particle mI].

    tense: past, present, future, habitual, perfect, can. who: person and number of the ending.
    """
    person = _OTHER.get(who, "")
    if tense in ("past", "perfect"):
        form = attach(attach(attach(stem, "mA") if negative else stem, "DI"), _PAST.get(who, ""))
        return [form, particle(form)] if question else [form]
    if tense in ("habitual", "can") and not question:
        if tense == "habitual":
            return [aorist(stem, soft, negative, who)]
        able = attach(_before_vowel(stem, soft, False), "(y)A")
        return [aorist(able, able, True, who)] if negative else [attach(able + "bilir", person)]
    if tense == "present":
        form = progressive(stem, soft, negative)
    elif tense == "future":
        form = attach(_before_vowel(stem, soft, negative), "(y)AcAk")
    else:
        form = attach(stem, "mAz") if negative else aorist_stem(stem, soft)
    if question:
        form = attach(form, "lAr") if who == (3, True) else form
        return [form, particle(form, "" if who == (3, True) else person)]
    if form.endswith("k") and person.startswith("(y)"):
        form = form[:-1] + "ğ"  # as in gideceğim
    return [attach(form, person)]


def conditional(stem: str, soft: str, negative: bool, who: Agreement) -> str:
    """Return the aorist conditional: gelirse, okumazsam."""
    base = attach(stem, "mAz") if negative else aorist_stem(stem, soft)
    if who == (3, True):
        return attach(base, "lArsA")
    return attach(attach(base, "sA"), _PAST.get(who, ""))


def copula(form: str, tense: str, who: Agreement) -> str:
    """Return a predicate with the copular ending: doktorum, hastaydı, evdesiniz."""
    if tense == "past":
        return attach(attach(form, "(y)DI"), _PAST.get(who, ""))
    return attach(form, "" if who[0] == 3 else _OTHER[who])


def participle(stem: str, soft: str, negative: bool) -> str:
    """Return the subject participle: okuyan, giden, gelmeyen."""
    return attach(_before_vowel(stem, soft, negative), "(y)An")


def nominalised(stem: str, soft: str, tense: str, negative: bool, owner: Agreement, case: str) -> str:
    """Return the verb as a noun in -DIk, or -(y)AcAk in the future, with the subject's possessive suffix and a case.

    Examples: geldiğini, gideceğini, okuduğum.
    """
    if tense == "future":
        base = attach(_before_vowel(stem, soft, negative), "(y)AcAk")
    else:
        base = attach(attach(stem, "mA") if negative else stem, "DIk")
    return noun_form(base, base[:-1] + "ğ", owner=owner, case=case)


def verbal_noun(stem: str, form: str) -> str:
    """Return the infinitive in -mAk ("inf"), or the verbal noun in -mA in the accusative or dative."""
    return attach(stem, {"inf": "mAk", "acc": "mAyI", "dat": "mAyA"}[form])
