"""Build English noun phrases and verb forms: articles, plurals, pronouns, tenses."""

from __future__ import annotations

from bistil_ds.sample.grammar.annotation import Phrase, name_phrase, word
from bistil_ds.sample.grammar.meaning import Participant
from bistil_ds.sample.grammar.verbs import Verb

_SUBJECT = {(1, False): "I", (2, False): "you", (1, True): "we", (2, True): "you", (3, True): "they"}
_OBJECT = {(1, False): "me", (2, False): "you", (1, True): "us", (2, True): "you", (3, True): "them"}
_POSSESSIVE = {(1, False): "my", (2, False): "your", (1, True): "our", (2, True): "your", (3, True): "their"}
_SINGULAR = {
    "subject": {"m": "he", "f": "she"},
    "object": {"m": "him", "f": "her"},
    "possessive": {"m": "his", "f": "her"},
}
_TABLES = {"subject": _SUBJECT, "object": _OBJECT, "possessive": _POSSESSIVE}


def _pronoun(who: Participant, role: str) -> str:
    key = (who.person, who.many)
    return _TABLES[role].get(key) or _SINGULAR[role]["f" if who.gender == "f" else "m"]


def participant(who: Participant, role: str = "object") -> Phrase:
    """Return a noun phrase or pronoun, without its relative clause.

    role: "subject" or "object"; only the form of a pronoun depends on it.
    """
    if who.asked:
        return word(who.asked, "PRON")
    if who.pronoun:
        return word(_pronoun(who, role), "PRON")
    if who.name:
        phrase = name_phrase((*who.name.en, *who.surname.split()), who.name.kind)
        if who.name.article:
            phrase.left(word("the", "DET"), "det")
    else:
        phrase = _noun_phrase(who)
    if who.also:
        phrase.right(participant(who.also).left(word("and", "CCONJ"), "cc"), "conj")
    return phrase


def _noun_phrase(who: Participant) -> Phrase:
    assert who.noun
    phrase = word(
        who.noun.en_plural if who.plural else who.noun.en, "PROPN" if "language" in who.noun.kinds else "NOUN"
    )
    if who.adjective:
        phrase.left(word(who.adjective.en, "ADJ"), "amod")
    if who.number:
        phrase.left(word(who.number.en, "NUM"), "nummod")
    if who.possessor:
        phrase.left(_possessor(who.possessor), "nmod")
    elif determiner := _determiner(who, phrase.words[0].form):
        phrase.left(
            word(determiner, "ADJ" if determiner == "many" else "DET"), "amod" if determiner == "many" else "det"
        )
    if who.quantifier == "all":
        phrase.left(word("all", "DET"), "det")
    return phrase


def _determiner(who: Participant, following: str) -> str:
    assert who.noun
    if who.quantifier in ("many", "every", "no"):
        return who.quantifier
    if who.demonstrative:
        return {"near": ("this", "these"), "far": ("that", "those")}[who.demonstrative][who.plural]
    if who.definite:
        return "" if who.number else "the"
    if who.plural or who.noun.mass:
        return ""
    return "an" if following[0] in "aeiou" and not following.startswith(("uni", "use")) else "a"


def _possessor(who: Participant) -> Phrase:
    if who.pronoun:
        return word(_pronoun(who, "possessive"), "PRON")
    phrase = participant(who)
    phrase.words[-1].space_after = False
    plural_s = who.noun and who.plural and phrase.words[-1].form.endswith("s")
    return phrase.right(word("'" if plural_s else "'s", "PART"), "case")


def _third(verb: str) -> str:
    if verb.endswith(("s", "sh", "ch", "x", "o")):
        return verb + "es"
    return verb[:-1] + "ies" if verb[-1] == "y" and verb[-2] not in "aeiou" else verb + "s"


def verb_forms(verb: Verb, tense: str, who: Participant, support: bool) -> tuple[str, str]:
    """Return the auxiliary ("" for none) and the form of the verb.

    support: whether the clause needs an auxiliary, for a negation or a question.
    """
    base, past, participle, progressive = verb.en
    third = who.person == 3 and not who.many
    if tense == "present" and verb.stative:
        tense = "habitual"
    if tense == "past progressive" and verb.stative:
        tense = "past"
    if tense == "past":
        return ("did", base) if support else ("", past)
    if tense == "habitual":
        auxiliary = "does" if third else "do"
        return (auxiliary, base) if support else ("", _third(base) if third else base)
    if tense == "present":
        return be("present", who), progressive
    if tense == "past progressive":
        return be("past", who), progressive
    if tense == "perfect":
        return "has" if third else "have", participle
    if tense == "pluperfect":
        return "had", participle
    return {"future": "will", "would": "would", "can": "can", "could": "could"}[tense], base


def be(tense: str, who: Participant) -> str:
    plural = who.many or (who.person == 2)
    if tense == "past":
        return "were" if plural else "was"
    return "are" if plural else "am" if who.person == 1 else "is"
