"""Build English sentences in the order subject, verb, object.

Questions are inverted. Questions and negations that have no other auxiliary get "do". The tense of a reported clause
depends on the tense of the verb that reports it.
"""

from __future__ import annotations

from dataclasses import replace

from bistil_ds.sample.grammar.annotation import Dependents, Phrase, Sentence, annotate, comma, fixed_phrase, word
from bistil_ds.sample.grammar.english_phrases import be, participant, verb_forms
from bistil_ds.sample.grammar.meaning import Clause, Participant

# places in which one is "on" or "at"; in all others one is "in"
_ON = {"table", "chair", "bed", "field", "island", "mountain", "road"}
_AT = {"market", "station", "port", "hotel", "restaurant", "bank", "court", "school", "hospital"}
# tense of a reported clause → the tense that it takes after a past verb: "she said that he had come"
_REPORTED = {"past": "pluperfect", "present": "past progressive", "future": "would"}


def sentence(c: Clause) -> Sentence:
    """Return the annotated English sentence that says `c`."""
    asked = c.mood in ("question", "where") or c.subject.asked or (c.object is not None and c.object.asked)
    phrase = _clause(c)
    if c.linked:
        second = _clause(c.linked)
        if c.link in ("when", "if"):
            phrase.left(comma(), "punct").left(second.left(word(c.link, "SCONJ"), "mark"), "advcl")
        elif c.link == "because":
            phrase.right(second.left(word("because", "SCONJ"), "mark"), "advcl")
        else:
            second.left(word(c.link, "CCONJ"), "cc").left(comma(), "punct")
            phrase.right(second, "conj")
    return annotate(phrase, "?" if asked else "!" if c.mood == "command" else ".")


def _clause(c: Clause, gap: str = "", tense: str = "") -> Phrase:
    """Return a clause without its final punctuation.

    gap: the participant that a relative clause leaves out, "subject" or "object". tense: used instead of `c.tense`.
    """
    tense = tense or c.tense
    asked_object = c.object is not None and bool(c.object.asked)
    # a question about the subject ("who reads?") is not inverted and has no "do"
    inverted = c.mood in ("question", "where") or asked_object
    silent = gap == "subject" or c.mood == "command" or c.kind == "exist"
    subject: Dependents = [] if silent else [(_full(c.subject, "subject"), "nsubj")]
    if c.kind in ("verb", "have"):
        head, auxiliary = _verbal(c, tense, c.negative or inverted, gap)
        helpers: Dependents = [(word(auxiliary, "AUX"), "aux")] if auxiliary else []
    else:
        head, helpers = _copular(c, tense)
    if c.negative and c.kind != "exist":
        negation: Dependents = [(word("not", "PART"), "advmod")]
        if helpers and helpers[0][0] and helpers[0][0].head.form == "can" and not inverted:
            helpers[0][0].head.space_after = False  # makes "cannot"
    else:
        negation = []
    if inverted:
        before = helpers[:1] + subject + negation + helpers[1:]
    else:
        before = subject + helpers[:1] + negation + helpers[1:]
    if c.mood == "where":
        before = [(word("where", "ADV"), "advmod"), *before]
    if asked_object and c.object:
        before = [(participant(c.object), "obj"), *before]
    time = fixed_phrase(c.time.en) if c.time else None
    relation = "advmod" if time and time.head.upos == "ADV" else "obl"
    if time and c.time_first and not inverted:
        return head.lefts([(time, relation), (comma(), "punct"), *before])
    return head.lefts(before).right(time, relation)


def _full(who: Participant, role: str = "object") -> Phrase:
    """Return a participant with its relative clause."""
    phrase = participant(who, role)
    if who.relative:
        pronoun = word("who" if who.human else "that", "PRON")
        body = _clause(who.relative.clause, gap=who.relative.gap)
        phrase.right(body.left(pronoun, "nsubj" if who.relative.gap == "subject" else "obj"), "acl")
    return phrase


def _verbal(c: Clause, tense: str, support: bool, gap: str) -> tuple[Phrase, str]:
    """Return the verb phrase (the verb and all that follows it, without the time) and the auxiliary ("" for none)."""
    if c.kind == "have":
        third = c.subject.person == 3 and not c.subject.many
        forms = {"present": ("does" if third else "do", "has" if third else "have"), "past": ("did", "had")}[tense]
        auxiliary, form = (forms[0], "have") if support else ("", forms[1])
        return word(form, "VERB").right(_full(c.object) if c.object else None, "obj"), auxiliary
    assert c.verb
    if c.mood == "command":
        return _after_verb(c, word(c.verb.en[0], "VERB"), gap), "do" if c.negative else ""
    if c.control:
        auxiliary, form = verb_forms(c.control[0], tense, c.subject, support)
        inner = _after_verb(c, word(c.verb.en[0], "VERB"), gap).left(word("to", "PART"), "mark")
        return word(form, "VERB").right(inner, "xcomp"), auxiliary
    auxiliary, form = verb_forms(c.verb, tense, c.subject, support)
    return _after_verb(c, word(form, "VERB"), gap), auxiliary


def _after_verb(c: Clause, head: Phrase, gap: str) -> Phrase:
    assert c.verb
    preposition = c.verb.en_preposition
    if c.recipient:
        head.right(participant(c.recipient), "iobj")
    if gap == "object" and preposition:
        head.right(word(preposition, "ADP"), "case")
    elif c.object and not c.object.asked and gap != "object":
        target = _full(c.object)
        head.right(
            target.left(word(preposition, "ADP"), "case") if preposition else target, "obl" if preposition else "obj"
        )
    place = _place(c) if c.place else None
    manner = fixed_phrase(c.manner.en) if c.manner else None
    # the place comes before the manner: "run to the market quickly"
    head.rights([(place, "obl"), (manner, "advmod" if manner and manner.head.upos == "ADV" else "obl")])
    head.rights([(_with(c.companion), "obl"), (_with(c.instrument), "obl")])
    if c.complement:
        shifted = _REPORTED.get(c.complement.tense, "") if c.tense == "past" else ""
        head.right(_clause(c.complement, tense=shifted).left(word("that", "SCONJ"), "mark"), "ccomp")
    return head


def _copular(c: Clause, tense: str) -> tuple[Phrase, Dependents]:
    """Return the predicate, and the auxiliaries and copula that stand before it, in order.

    In "there is", the predicate is the verb, and the word "there" comes first in the list.
    """
    forms = {"future": ("will", "be"), "would": ("would", "be"), "pluperfect": ("had", "been")}
    agreeing = be("present" if tense == "present" else "past", c.subject)
    helper, form = forms.get(tense, ("", agreeing))
    helpers: Dependents = [(word(helper, "AUX"), "aux")] if helper else []
    if c.kind == "exist":
        thing = replace(c.subject, quantifier="no") if c.negative else c.subject
        head = word(form, "VERB").right(participant(thing), "nsubj").right(_place(c), "obl")
        return head, [(word("there", "PRON"), "expl"), *helpers]
    if c.kind == "place":
        head = _place(c)
    elif c.kind == "noun" and c.object:
        head = participant(c.object)
    else:
        assert c.adjective
        head = word(c.adjective.en, "ADJ")
        if c.kind == "compare" and c.object:
            long = len(c.adjective.en) > 6 or c.adjective.en in ("fierce", "foreign", "famous", "special")
            comparative = c.adjective.en if long else _comparative(c.adjective.en)
            head = word(comparative, "ADJ").left(word("more", "ADV") if long else None, "advmod")
            head.right(participant(c.object).left(word("than", "ADP"), "case"), "obl")
    return head, [*helpers, (word(form, "AUX"), "cop")]


def _comparative(adjective: str) -> str:
    irregular = {"good": "better", "bad": "worse", "big": "bigger", "red": "redder"}
    stem = adjective[:-1] + "i" if adjective.endswith("y") else adjective.removesuffix("e")
    return irregular.get(adjective, stem + "er")


def _place(c: Clause) -> Phrase:
    assert c.place
    noun = c.place.noun.en if c.place.noun else ""
    inside = "on" if noun in _ON else "at" if noun in _AT else "in"
    preposition = inside if c.place_role == "in" else c.place_role
    if c.place_role == "at" and (c.place.name or noun in ("city", "village")):
        preposition = "in"  # one arrives in a named place, a city or a village, but at any other place
    return participant(c.place).left(word(preposition, "ADP"), "case")


def _with(who: Participant | None) -> Phrase | None:
    return participant(who).left(word("with", "ADP"), "case") if who else None
