"""Build Swahili sentences in the order subject, verb, object, with modifiers after the noun.

Words agree with the class of their noun (concord). The verb has a prefix for a recipient, or else for an object that is
a person or an animal.
"""

from __future__ import annotations

from bistil_ds.sample.grammar import swahili_forms as forms
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
from bistil_ds.sample.grammar.meaning import Clause, Participant

_PRONOUNS = {
    (1, False): "mimi",
    (2, False): "wewe",
    (3, False): "yeye",
    (1, True): "sisi",
    (2, True): "ninyi",
    (3, True): "wao",
}
_LINKS = {"and": "na", "but": "lakini"}


def sentence(c: Clause) -> Sentence:
    """Return the annotated Swahili sentence that says `c`."""
    asked = c.mood in ("question", "where") or c.subject.asked or (c.object is not None and c.object.asked)
    phrase = _clause(c)
    if c.mood == "question":
        phrase.left(comma(), "punct").left(word("je", "PART"), "discourse")
    if c.linked and c.link in ("when", "if"):
        phrase.left(comma(), "punct").left(_clause(c.linked, tense=c.link), "advcl")
    elif c.linked and c.link == "because":
        reason = fixed_phrase("kwa:ADP sababu:NOUN:fixed")
        phrase.right(_clause(c.linked).left(reason, "mark"), "advcl")
    elif c.linked:
        second = _clause(c.linked).left(word(_LINKS[c.link], "CCONJ"), "cc")
        phrase.right(second.left(comma(), "punct") if c.link == "but" else second, "conj")
    return annotate(phrase, "?" if asked else "!" if c.mood == "command" else ".")


def participant(who: Participant) -> Phrase:
    """Return a noun phrase; a pronoun becomes a word of its own, not a prefix of the verb."""
    if who.asked:
        return word({"who": "nani", "what": "nini"}[who.asked], "PRON")
    if who.pronoun:
        return word(_PRONOUNS[who.person, who.plural], "PRON")
    if who.name:
        phrase = name_phrase((*who.name.sw, *who.surname.split()), who.name.kind)
    else:
        phrase = _noun_phrase(who)
    if who.also:
        phrase.right(participant(who.also).left(word("na", "CCONJ"), "cc"), "conj")
    return phrase


def _noun_phrase(who: Participant) -> Phrase:
    assert who.noun
    single = Participant(noun=who.noun, plural=who.plural)
    cls = forms.concord_class(single)
    owned = forms.noun_class(single) if "kin" in who.noun.kinds else cls
    language = "language" in who.noun.kinds
    phrase = word(who.noun.sw_plural if who.plural else who.noun.sw, "PROPN" if language else "NOUN")
    if who.quantifier == "every":
        phrase.left(word("kila", "DET"), "det")
    if who.possessor and who.possessor.pronoun:
        form = forms.possessive((who.possessor.person, who.possessor.plural), owned)
        phrase.right(word(form, "PRON"), "nmod")
    if who.demonstrative:
        phrase.right(word(forms.demonstrative(who.demonstrative, cls), "DET"), "det")
    if who.adjective:
        phrase.right(word(forms.adjective(who.adjective.sw, cls), "ADJ"), "amod")
    if who.number:
        phrase.right(word(forms.number(who.number.sw, cls), "NUM"), "nummod")
    if who.quantifier == "many":
        phrase.right(word(forms.adjective("-ingi", cls), "ADJ"), "amod")
    if who.quantifier == "all":
        phrase.right(word(forms.all_of(cls), "DET"), "det")
    if who.possessor and not who.possessor.pronoun:
        phrase.right(participant(who.possessor).left(word(forms.connective(cls), "ADP"), "case"), "nmod")
    if who.relative:
        gap = who.relative.gap
        pronoun = word(forms.relative_pronoun(cls), "PRON")
        body = _clause(who.relative.clause, gap=gap).left(pronoun, "nsubj" if gap == "subject" else "obj")
        phrase.right(body, "acl")
    return phrase


def _clause(c: Clause, gap: str = "", tense: str = "") -> Phrase:
    """Return a clause without its final punctuation.

    gap: the participant that a relative clause leaves out, "subject" or "object". tense: used instead of `c.tense`, by
    clauses of kind "verb" only.
    """
    tense = tense or c.tense
    if c.kind == "verb":
        head = _verbal(c, tense, gap)
    elif c.kind == "have":
        head = _having(c)
    elif c.kind == "exist":
        return _existing(c)
    else:
        head = _copular(c)
    silent = gap == "subject" or c.mood == "command" or (c.subject.pronoun and c.kind in ("verb", "have", "place"))
    if not silent:
        head.left(participant(c.subject), "nsubj")
    if c.time:
        time = fixed_phrase(c.time.sw)
        relation = "advmod" if time.head.upos == "ADV" else "obl"
        if c.time_first and c.mood == "statement":
            head.left(comma(), "punct").left(time, relation)
        else:
            head.right(time, relation)
    return head


def _verbal(c: Clause, tense: str, gap: str) -> Phrase:
    """Return the verb with everything that follows it except the time."""
    assert c.verb
    marked = c.recipient or (c.object if c.object and c.object.animate and not c.object.asked else None)
    target = forms.object_prefix(marked, c.verb.sw) if marked else ""
    outer = c.control[0].sw if c.control else "weza" if tense == "can" else ""
    if outer:
        inner = _after_verb(c, word(forms.infinitive(c.verb.sw, target), "VERB"), gap)
        finite = forms.verb(outer, "present" if tense == "can" else tense, c.negative, c.subject)
        return word(finite, "VERB").right(inner, "xcomp")
    if c.mood == "command":
        form = forms.command(c.verb.sw, c.negative, target, c.verb.trait("sw="))
    else:
        form = forms.verb(c.verb.sw, tense, c.negative, c.subject, target)
    return _after_verb(c, word(form, "VERB"), gap)


def _after_verb(c: Clause, head: Phrase, gap: str) -> Phrase:
    assert c.verb
    head.right(word(c.verb.sw_noun, "NOUN") if c.verb.sw_noun else None, "compound")
    if c.recipient:
        head.right(participant(c.recipient), "iobj")
    if c.object and gap != "object" and not c.object.pronoun:
        head.right(participant(c.object), "obj")
    manner = fixed_phrase(c.manner.sw) if c.manner else None
    after: Dependents = [(manner, "advmod" if manner and manner.head.upos == "ADV" else "obl")]
    if c.mood == "where":
        after.append((word("wapi", "ADV"), "advmod"))
    elif c.place:
        after.append((_place(c.place, c.place_role), "obl"))
    after.append((_by(c.companion, "na"), "obl"))
    after.append((_by(c.instrument, "kwa"), "obl"))
    if c.complement:
        after.append((_clause(c.complement).left(word("kwamba", "SCONJ"), "mark"), "ccomp"))
    return head.rights(after)


def _by(who: Participant | None, preposition: str) -> Phrase | None:
    return participant(who).left(word(preposition, "ADP"), "case") if who else None


def _place(place: Participant, role: str) -> Phrase:
    """Return the phrase of a place. A singular noun without modifiers takes the suffix -ni.

    The role "from" adds the preposition "kutoka". In other roles, a noun without the suffix gets the preposition
    "katika", and a name gets none.
    """
    phrase = participant(place)
    bare = place.noun and len(phrase.words) == 1 and not place.plural
    if bare:
        phrase.head.form += "ni"
    if role == "from":
        return phrase.left(word("kutoka", "ADP"), "case")
    if bare or place.name:
        return phrase
    return phrase.left(word("katika", "ADP"), "case")


def _copular(c: Clause) -> Phrase:
    if c.kind == "place" and c.place:
        where = _place(c.place, "in")
        form = (
            forms.located(c.negative, c.subject) if c.tense == "present" else forms.be(c.tense, c.negative, c.subject)
        )
        return where.left(word(form, "AUX"), "cop")
    if c.kind == "noun" and c.object:
        head = participant(c.object)
    else:
        assert c.adjective
        head = word(forms.adjective(c.adjective.sw, _predicate_class(c.subject)), "ADJ")
        if c.kind == "compare" and c.object:
            head.right(participant(c.object).left(word("kuliko", "ADP"), "case"), "obl")
    return head.left(word(forms.be(c.tense, c.negative, c.subject), "AUX"), "cop")


def _predicate_class(who: Participant) -> int:
    return (2 if who.plural else 1) if who.pronoun else forms.concord_class(who)


def _having(c: Clause) -> Phrase:
    """Return a clause with "have", in Swahili "be with": ana "has", hana "has not", alikuwa na "had"."""
    thing = participant(c.object) if c.object else None
    if c.tense == "present":
        prefix = forms.negative_prefix(c.subject) if c.negative else forms.subject_prefix(c.subject)
        return word(prefix + "na", "VERB").right(thing, "obj")
    form = forms.be(c.tense, c.negative, c.subject)
    return word(form, "VERB").right(thing.left(word("na", "ADP"), "case") if thing else None, "obj")


def _existing(c: Clause) -> Phrase:
    """Return a clause with "there is"; its verb agrees with the place.

    Examples: kuna "there is", hakuna "there is not", kulikuwa na "there was".
    """
    thing = participant(c.subject)
    if c.tense == "present":
        head = word("hakuna" if c.negative else "kuna", "VERB").right(thing, "nsubj")
    else:
        positive, negative = {"past": ("kulikuwa", "hakukuwa"), "future": ("kutakuwa", "hakutakuwa")}[c.tense]
        head = word(negative if c.negative else positive, "VERB").right(thing.left(word("na", "ADP"), "case"), "nsubj")
    return head.right(_place(c.place, "in") if c.place else None, "obl")
