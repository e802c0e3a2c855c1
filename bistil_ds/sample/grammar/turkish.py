"""Build Turkish sentences in the order subject, object, verb.

Nouns have cases, subject pronouns are dropped, reported clauses become verbal nouns, and relative clauses participles.
"""

from __future__ import annotations

from dataclasses import replace

from bistil_ds.sample.grammar import turkish_forms as forms
from bistil_ds.sample.grammar.annotation import (
    Dependents,
    Phrase,
    Sentence,
    annotate,
    comma,
    fixed_phrase,
    name_phrase,
    word,
)
from bistil_ds.sample.grammar.meaning import Clause, Participant, Relative

_ROLE_CASE = {"to": "dat", "at": "dat", "in": "loc", "from": "abl"}
_QUANTIFIERS = {"many": "birçok", "every": "her", "all": "bütün"}
_LINKS = {"and": "ve", "but": "ama", "because": "çünkü"}


def sentence(c: Clause) -> Sentence:
    """Return the annotated Turkish sentence that says `c`."""
    asked = c.mood in ("question", "where") or c.subject.asked or (c.object is not None and c.object.asked)
    phrase = _clause(c)
    if c.linked and c.link in ("when", "if"):
        phrase.left(comma(), "punct").left(_adverbial(c.linked, c.link), "advcl")
    elif c.linked:
        because = c.link == "because"
        second = _clause(c.linked).left(word(_LINKS[c.link], "CCONJ"), "mark" if because else "cc")
        if c.link != "and":
            second.left(comma(), "punct")
        phrase.right(second, "advcl" if because else "conj")
    return annotate(phrase, "?" if asked else "!" if c.mood == "command" else ".", dotted_i=True)


def agreement(who: Participant) -> forms.Agreement:
    """Return (person, plural) for a verb or possessive suffix: those of a pronoun, else third person singular."""
    return (who.person, who.plural) if who.pronoun else (3, False)


def participant(who: Participant, case: str = "nom", owner: forms.Agreement | None = None) -> Phrase:
    """Return a noun phrase in a case.

    owner: person and number of the noun's possessive suffix; given only if the possessor is not part of `who`.
    """
    if who.asked:
        return word({"who": "kim", "what": "ne"}[who.asked], "PRON")
    if who.pronoun:
        return word(forms.pronoun_form((who.person, who.plural), case), "PRON")
    if who.name:
        phrase = name_phrase((*who.name.tr, *who.surname.split()), who.name.kind)
        last = phrase.words[-1]
        # in "A ve B" only B carries the case
        last.form = last.form if who.also else forms.name_form(last.form, case, who.name.compound)
    else:
        phrase = _noun_phrase(who, "nom" if who.also else case, owner)
    if who.also:
        phrase.right(participant(who.also, case).left(word("ve", "CCONJ"), "cc"), "conj")
    return phrase


def _noun_phrase(who: Participant, case: str, owner: forms.Agreement | None) -> Phrase:
    assert who.noun
    plural = who.plural and not who.number and who.quantifier != "many"
    owner = agreement(who.possessor) if who.possessor else owner
    phrase = word(forms.noun_form(who.noun.tr, who.noun.tr_stem, plural, owner, case), "NOUN")
    if "language" in who.noun.kinds:
        phrase.head.upos = "PROPN"
    if not (who.definite or who.plural or who.noun.mass or who.possessor or who.quantifier or who.demonstrative):
        phrase.left(word("bir", "DET"), "det")
    if who.adjective:
        phrase.left(word(who.adjective.tr, "ADJ"), "amod")
    if who.number:
        phrase.left(word(who.number.tr, "NUM"), "nummod")
    if who.demonstrative:
        phrase.left(word({"near": "bu", "far": "o"}[who.demonstrative], "DET"), "det")
    if who.quantifier:
        phrase.left(word(_QUANTIFIERS[who.quantifier], "DET"), "det")
    if who.possessor and not who.possessor.pronoun:
        phrase.left(participant(who.possessor, "gen"), "nmod")
    return phrase.left(_relative(who.relative) if who.relative else None, "acl")


def _relative(relative: Relative) -> Phrase:
    c = relative.clause
    assert c.verb
    if relative.gap == "subject":
        return _around(c, word(forms.participle(c.verb.tr, c.verb.tr_stem, c.negative), "VERB"), gap="subject")
    form = forms.nominalised(c.verb.tr, c.verb.tr_stem, "past", c.negative, agreement(c.subject), "nom")
    return _around(c, word(form, "VERB"), "gen", gap="object")


def _specific(who: Participant) -> bool:
    """Return whether an object takes the accusative."""
    if who.asked == "what":
        return False
    marked = who.possessor or who.demonstrative or who.quantifier in ("every", "all") or who.relative
    return not who.noun or bool(marked) or (who.definite and not who.number)


def _object(c: Clause) -> tuple[Phrase, str]:
    assert c.verb
    assert c.object
    if c.verb.tr_case != "acc":
        return participant(c.object, c.verb.tr_case), "obl"
    loved = c.verb.en[0] == "love"  # an indefinite object of "love" has the accusative too: it means a whole kind
    return participant(c.object, "acc" if loved or _specific(c.object) else "nom"), "obj"


def _around(c: Clause, head: Phrase, subject_case: str = "nom", gap: str = "") -> Phrase:
    """Put participants, time, place, manner and complement before the verb `head`.

    subject_case: "gen" if the verb is nominalised. gap: the participant to leave out, "subject" or "object".
    """
    assert c.verb
    if c.verb.tr_noun:
        head.left(word(c.verb.tr_noun, "NOUN"), "compound")
    before: Dependents = []
    subject = (participant(c.subject, subject_case), "nsubj")
    if gap != "subject" and c.mood != "command" and not c.subject.pronoun and not c.subject.asked:
        before.append(subject)
    elif subject_case == "gen" and gap != "object":
        before.append((participant(c.subject, "gen"), "nsubj"))  # a pronoun is not dropped: "onun geldiği", he came
    time = fixed_phrase(c.time.tr) if c.time else None
    relation = "advmod" if time and time.head.upos == "ADV" else "obl"
    before.insert(0 if c.time_first else len(before), (time, relation))
    before.append((participant(c.companion).right(word("ile", "ADP"), "case") if c.companion else None, "obl"))
    if c.place:
        before.append((participant(c.place, _ROLE_CASE[c.place_role]), "obl"))
    if c.recipient:
        before.append((participant(c.recipient, "dat"), "obl"))
    before.append((participant(replace(c.instrument, definite=True), "ins") if c.instrument else None, "obl"))
    manner = fixed_phrase(c.manner.tr) if c.manner else None
    before.append((manner, "advmod"))
    if c.object and gap != "object":
        target = _object(c)
        known = _specific(c.object) or c.verb.tr_case != "acc"  # an indefinite object stands next to the verb
        before.insert(len(before) - 1 if known else len(before), target)
    if c.complement:
        before.append((_nominal(c.complement, c.complement_case), "ccomp"))
    if c.subject.asked:  # "who" stands before the verb
        before.append(subject)
    if c.mood == "where":
        before.append((word("nerede", "ADV"), "advmod"))
    return head.lefts(before)


def _clause(c: Clause) -> Phrase:
    """Return an independent clause without its final punctuation."""
    who = agreement(c.subject)
    if c.kind in ("have", "exist"):
        return _existential(c)
    if c.kind != "verb":
        return _copular(c, who)
    assert c.verb
    if c.mood == "command":
        return _around(c, word(forms.attach(c.verb.tr, "mA") if c.negative else c.verb.tr, "VERB"))
    verb = c.control[0] if c.control else c.verb
    finite, *particle = forms.verb_form(verb.tr, verb.tr_stem, c.tense, c.negative, who, c.mood == "question")
    head = word(finite, "VERB")
    if c.control:
        inner = _around(c, word(forms.verbal_noun(c.verb.tr, c.control[1]), "VERB"), gap="subject")
        head.left(inner, "xcomp")
        head.left(None if c.subject.pronoun else participant(c.subject), "nsubj")
    else:
        _around(c, head)
    return head.right(word(particle[0], "AUX") if particle else None, "aux")


def _nominal(c: Clause, case: str, subject_case: str = "gen") -> Phrase:
    """Return a clause as a noun phrase in `case`: "Ali'nin geldiğini", "that Ali came"."""
    who = agreement(c.subject)
    if c.kind == "verb":
        assert c.verb
        form = forms.nominalised(c.verb.tr, c.verb.tr_stem, c.tense, c.negative, who, case)
        return _around(c, word(form, "VERB"), subject_case)
    being = word(forms.nominalised("ol", "ol", c.tense, c.negative, who, case), "AUX")
    return _predicate(c).right(being, "cop").left(participant(c.subject, subject_case), "nsubj")


def _adverbial(c: Clause, link: str) -> Phrase:
    """Return a clause of time ("geldiğinde") or condition ("gelirse")."""
    assert c.verb
    who = agreement(c.subject)
    if link == "when":
        form = forms.nominalised(c.verb.tr, c.verb.tr_stem, "past", c.negative, who, "loc")
    else:
        form = forms.conditional(c.verb.tr, c.verb.tr_stem, c.negative, who)
    return _around(c, word(form, "VERB"))


def _predicate(c: Clause) -> Phrase:
    if c.kind == "place" and c.place:
        return participant(c.place, "loc")
    if c.kind == "noun" and c.object:
        return participant(replace(c.object, definite=True, plural=False))
    assert c.adjective
    head = word(c.adjective.tr, "ADJ")
    if c.kind == "compare" and c.object:
        head.left(word("daha", "ADV"), "advmod").left(participant(c.object, "abl"), "obl")
    return head


def _copular(c: Clause, who: forms.Agreement) -> Phrase:
    head = _predicate(c)
    person = (who[0], who[1] and who[0] != 3)
    if c.tense == "future":
        head.right(word(forms.verb_form("ol", "ol", "future", c.negative, person)[0], "AUX"), "cop")
    elif c.negative:
        head.right(word(forms.copula("değil", c.tense, person), "AUX"), "cop")
    else:
        last = head.words[-1]
        last.form = forms.copula(last.form, c.tense, person)
    # without a verb, a pronoun of the third person cannot be dropped
    return head.left(None if c.subject.pronoun and who[0] != 3 else participant(c.subject), "nsubj")


def _existential(c: Clause) -> Phrase:
    """Return a clause with "there is" or "have": "masada bir kitap var", "Ali'nin bir kitabı var"."""
    if c.tense == "future":
        form = "olmayacak" if c.negative else "olacak"
    else:
        form = forms.copula("yok" if c.negative else "var", c.tense, (3, False))
    thing = c.object if c.kind == "have" else c.subject
    assert thing
    thing = replace(thing, definite=thing.definite or c.negative)
    head = word(form, "VERB")
    if c.kind == "exist":
        return head.left(participant(thing), "nsubj").left(participant(c.place, "loc") if c.place else None, "obl")
    owned = participant(thing, owner=agreement(c.subject)).left(participant(c.subject, "gen"), "nmod")
    return head.left(owned, "nsubj")
