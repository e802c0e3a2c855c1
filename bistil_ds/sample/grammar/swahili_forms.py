"""Swahili morphology: noun classes, the forms that agree with them (concord), tenses, object prefixes.

Classes have their usual numbers. The pairs of singular and plural are 1 and 2, 3 and 4, 5 and 6, 7 and 8, 9 and 10,
11 and 10.
"""

from __future__ import annotations

from bistil_ds.sample.grammar.meaning import Participant

PLURAL_CLASS = {1: 2, 3: 4, 5: 6, 6: 6, 7: 8, 9: 10, 11: 10}
_ADJECTIVE = {1: "m", 2: "wa", 3: "m", 4: "mi", 5: "", 6: "ma", 7: "ki", 8: "vi", 11: "m"}
_BEFORE_VOWEL = {1: "mw", 2: "w", 3: "mw", 4: "my", 5: "j", 6: "m", 7: "ch", 8: "vy", 9: "ny", 10: "ny", 11: "mw"}
_NASAL = {"b": "mb", "v": "mv", "d": "nd", "g": "ng", "z": "nz", "r": "nd", "j": "nj"}
_CONNECTIVE = {1: "w", 2: "w", 3: "w", 4: "y", 5: "l", 6: "y", 7: "ch", 8: "vy", 9: "y", 10: "z", 11: "w"}
_NEAR = {
    1: "huyu",
    2: "hawa",
    3: "huu",
    4: "hii",
    5: "hili",
    6: "haya",
    7: "hiki",
    8: "hivi",
    9: "hii",
    10: "hizi",
    11: "huu",
}
_FAR = {
    1: "yule",
    2: "wale",
    3: "ule",
    4: "ile",
    5: "lile",
    6: "yale",
    7: "kile",
    8: "vile",
    9: "ile",
    10: "zile",
    11: "ule",
}
_SUBJECT = {1: "a", 2: "wa", 3: "u", 4: "i", 5: "li", 6: "ya", 7: "ki", 8: "vi", 9: "i", 10: "zi", 11: "u"}
_RELATIVE = {1: "ye", 2: "o", 3: "o", 4: "yo", 5: "lo", 6: "yo", 7: "cho", 8: "vyo", 9: "yo", 10: "zo", 11: "o"}
_OWN = {(1, False): "angu", (2, False): "ako", (3, False): "ake", (1, True): "etu", (2, True): "enu", (3, True): "ao"}
_PERSON_SUBJECT = {(1, False): "ni", (2, False): "u", (1, True): "tu", (2, True): "m"}
_PERSON_OBJECT = {(1, False): "ni", (2, False): "ku", (1, True): "tu", (2, True): "wa"}
_NUMBERS_TEN = {"wili": "mbili", "tatu": "tatu", "nne": "nne", "tano": "tano", "nane": "nane"}
# stems of one syllable, which keep ku- in forms whose stress would otherwise fall on the prefix
_SHORT = {"la", "nywa", "ja", "pa"}


def concord_class(who: Participant) -> int:
    """Return the class that verbs and adjectives agree with: 1 or 2 for persons and animals, else the `noun_class`.

    Two participants joined by "and" have class 2.
    """
    if who.also:
        return 2
    if who.animate:
        return 2 if who.plural else 1
    return noun_class(who)


def noun_class(who: Participant) -> int:
    """Return the class that the form of the noun or name belongs to."""
    singular = who.noun.sw_class if who.noun else who.name.sw_class if who.name else 9
    return PLURAL_CLASS[singular] if who.plural else singular


def adjective(stem: str, cls: int) -> str:
    """Return an adjective in agreement with a class: -zuri in class 7 is kizuri.

    A stem without a hyphen does not change.
    """
    if not stem.startswith("-"):
        return stem
    stem = stem[1:]
    if stem[0] in "ei":
        if stem[0] == "i" and cls in (2, 6):
            stem = "e" + stem[1:]
        return (_BEFORE_VOWEL[cls] if not (stem[0] == "i" and cls in (4, 8)) else {4: "m", 8: "v"}[cls]) + stem
    if stem == "pya" and cls in (5, 9, 10):
        return "jipya" if cls == 5 else "mpya"
    if cls in (9, 10):
        return "ndefu" if stem == "refu" else _NASAL.get(stem[0], stem[0]) + stem[1:]
    return _ADJECTIVE[cls] + stem


def number(stem: str, cls: int) -> str:
    """Return a numeral in agreement with a class: -wili in class 8 is viwili."""
    if not stem.startswith("-"):
        return stem
    return _NUMBERS_TEN[stem[1:]] if cls == 10 else _ADJECTIVE[cls] + stem[1:]


def connective(cls: int) -> str:
    """Return -a, "of", in agreement with a class: cha, vya, ya."""
    return _CONNECTIVE[cls] + "a"


def possessive(owner: tuple[int, bool], cls: int) -> str:
    """Return "my", "your" ... (-angu, -ako ...) in agreement with a class: changu, vyako."""
    return _CONNECTIVE[cls] + _OWN[owner]


def all_of(cls: int) -> str:
    """Return -ote, "all", in agreement with a class: wote, vyote."""
    return _CONNECTIVE[cls] + "ote"


def demonstrative(distance: str, cls: int) -> str:
    """Return the demonstrative of a class: "this" for the distance "near", "that" for "far"."""
    return (_NEAR if distance == "near" else _FAR)[cls]


def relative_pronoun(cls: int) -> str:
    """Return the relative pronoun amba- of a class: ambaye, ambacho."""
    return "amba" + _RELATIVE[cls]


def subject_prefix(who: Participant) -> str:
    """Return the verb's subject prefix."""
    return _PERSON_SUBJECT.get((who.person, who.many)) or _SUBJECT[concord_class(who)]


def negative_prefix(who: Participant) -> str:
    """Return the subject prefix of negative tenses: si, hu, ha, hatu, ham, hawa, haki, ..."""
    prefix = subject_prefix(who)
    return {"ni": "si", "u": "hu" if who.person == 2 else "hau", "a": "ha"}.get(prefix, "ha" + prefix)


def object_prefix(who: Participant, stem: str) -> str:
    """Return the verb's prefix for a person or animal as object; m becomes mw before a vowel."""
    if who.person != 3:
        return _PERSON_OBJECT[who.person, who.many]
    if who.many:
        return "wa"
    return "mw" if stem[0] in "aeiou" else "m"


def _final(stem: str, vowel: str) -> str:
    """Return a stem with its final -a replaced by `vowel`; return a stem without a final -a, a loan word, unchanged."""
    return stem[:-1] + vowel if stem.endswith("a") else stem


def verb(stem: str, tense: str, negative: bool, who: Participant, target: str = "") -> str:
    """Return a finite verb.

    tense: past, present, future, habitual, perfect, when, if. target: the object prefix, "" for none.
    """
    kept = "ku" if stem in _SHORT and not target else ""
    if negative and tense == "if":
        return subject_prefix(who) + "sipo" + target + kept + stem
    if negative:
        prefix = negative_prefix(who)
        marked = {
            "past": "ku" + target + stem,
            "future": "ta" + target + kept + stem,
            "perfect": "ja" + target + stem,
        }
        return prefix + marked.get(tense, target + _final(stem, "i"))
    if tense == "habitual":
        return "hu" + target + stem
    if tense == "if":
        return subject_prefix(who) + "ki" + target + stem
    marker = {"past": "li", "present": "na", "future": "ta", "perfect": "me", "when": "lipo"}[tense]
    return subject_prefix(who) + marker + target + kept + stem


def infinitive(stem: str, target: str = "") -> str:
    """Return the infinitive: ku-, object prefix and stem; the stem "enda" alone gives kwenda."""
    return "kwenda" if stem == "enda" else "ku" + target + stem


def command(stem: str, negative: bool, target: str = "", irregular: str = "") -> str:
    """Return a command to one person: soma, kula, mwone, usisome."""
    if negative:
        return "usi" + target + _final(stem, "e")
    if target:
        return target + _final(stem, "e")
    return irregular or ("ku" + stem if stem in _SHORT else stem)


def be(tense: str, negative: bool, who: Participant) -> str:
    """Return the copula: ni (negative si) for every person in the present, else a form such as alikuwa, hakitakuwa."""
    if tense == "present":
        return "si" if negative else "ni"
    if negative:
        return negative_prefix(who) + ("kuwa" if tense == "past" else "takuwa")
    return subject_prefix(who) + ("likuwa" if tense == "past" else "takuwa")


def located(negative: bool, who: Participant) -> str:
    """Return the present form of "to be somewhere": yuko, kiko, hayuko."""
    prefix = subject_prefix(who)
    prefix = "yu" if prefix == "a" else prefix
    if not negative:
        return prefix + "ko"
    return ("ha" + prefix if prefix == "yu" else negative_prefix(who)) + "ko"
