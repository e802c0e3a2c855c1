"""Draw clauses of verbs at random, with participants that go together with the verb."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from bistil_ds.sample.grammar.meaning import Clause, Participant, Relative
from bistil_ds.sample.grammar.modifiers import Modifier, adjectives, manners, numerals, times
from bistil_ds.sample.grammar.names import given_names, organisation_names, place_names
from bistil_ds.sample.grammar.nouns import Noun, nouns_of
from bistil_ds.sample.grammar.verbs import Verb, verbs

T = TypeVar("T")


class VerbClausePlanner:
    """A source of participants and clauses of verbs; the same `random.Random` state gives the same ones."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def _chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def _pick(self, items: Sequence[T]) -> T:
        return items[int(self.rng.random() * len(items))]

    # participants

    def _person_name(self) -> Participant:
        name, surnames = self._pick(given_names())
        return Participant(name=name, gender=name.gender, surname=self._pick(surnames) if self._chance(0.3) else "")

    def _pronoun(self) -> Participant:
        return Participant(person=self._pick((1, 2, 3, 3)), plural=self._chance(0.35), gender=self._pick("mf"))

    def _adjective(self, noun: Noun) -> Modifier | None:
        fitting = [a for a in adjectives() if a.use & noun.kinds]
        return self._pick(fitting) if fitting else None

    def _noun(self, noun: Noun, plain: bool = False, definite: float = 0.6) -> Participant:
        """Draw a noun phrase of `noun`.

        plain: draw only singular or plural, definiteness and adjective. A parent ("mother") always has a possessor.
        """
        made = Participant(noun=noun, plural=not noun.mass and self._chance(0.25), definite=self._chance(definite))
        if "language" in noun.kinds:
            return replace(made, definite=False)
        if "parent" in noun.kinds:
            return replace(made, plural=False, possessor=self._possessor())
        if self._chance(0.3):
            made = replace(made, adjective=self._adjective(noun))
        if plain:
            return made
        draw = self.rng.random()
        if draw < 0.2:
            made = replace(made, possessor=self._possessor())
        elif draw < 0.32:
            made = replace(made, demonstrative=self._pick(("near", "far")), definite=True)
        elif noun.mass:
            pass
        elif draw < 0.42:
            made = replace(made, number=self._pick(numerals()), plural=True, definite=False)
        elif draw < 0.52:
            quantifier = self._pick(("many", "every", "all"))
            made = replace(made, quantifier=quantifier, plural=quantifier != "every", definite=quantifier != "many")
        return made

    def _possessor(self) -> Participant:
        draw = self.rng.random()
        if draw < 0.5:
            return self._pronoun()
        if draw < 0.8:
            return self._person_name()
        people = [noun for noun in nouns_of("person") if "kin" not in noun.kinds]
        return Participant(noun=self._pick(people), plural=self._chance(0.2))

    def _owner(self) -> Participant:
        people = [noun for noun in nouns_of("person") if "kin" not in noun.kinds]
        return Participant(noun=self._pick(people), plural=self._chance(0.2))

    def participant(self, kinds: str, definite: float = 0.6, relative: bool = False) -> Participant:
        """Draw a participant of one of `kinds` (separated by spaces); "org" stands for organisations.

        definite: the probability that a noun is definite. relative: whether a noun may get a relative clause.
        """
        if "org" in kinds.split() and self._chance(0.3 if "person" in kinds else 1.0):
            return Participant(name=self._pick(organisation_names()))
        if "person" in kinds and self._chance(0.35):
            person = self._person_name()
            return replace(person, also=self._person_name()) if self._chance(0.12) else person
        kind = self._pick([k for k in kinds.split() if k != "org"])
        made = self._noun(self._pick(nouns_of(kind)), definite=definite)
        plain = not (made.possessor or made.number or made.quantifier or made.demonstrative)
        if relative and plain and self._chance(0.25):
            return self._with_relative(replace(made, definite=True))
        if plain and made.definite and made.human and not made.adjective and self._chance(0.1):
            return replace(made, also=self._pick((self._person_name, self._owner))())
        return made

    def _with_relative(self, head: Participant) -> Participant:
        assert head.noun
        as_object = [v for v in verbs() if v.objects and head.noun.kinds & set(v.objects.split()) and not _gives(v)]
        as_subject = [v for v in verbs() if head.noun.kinds & set(v.subjects.split())]
        gap = "object" if as_object and (not as_subject or self._chance(0.5)) else "subject"
        if gap == "subject" and not as_subject:
            return head
        clause = self._verb_clause(self._pick(as_object if gap == "object" else as_subject), short=True)
        itself = replace(head, relative=None, adjective=None)
        clause = replace(clause, subject=itself) if gap == "subject" else replace(clause, object=itself)
        tense = self._pick(("past", "past", "present"))
        return replace(head, relative=Relative(replace(clause, tense=tense), gap))

    def _place(self, role: str) -> Participant:
        if self._chance(0.4):
            return Participant(name=self._pick(place_names()))
        noun = self._pick(nouns_of("place"))
        return Participant(noun=noun) if self._chance(0.65) else replace(self._noun(noun), definite=True)

    # clauses

    def _verb_clause(self, verb: Verb, short: bool = False) -> Clause:
        """Draw a clause of `verb` with everything that the verb needs.

        short: leave out everything that the verb does not need.
        """
        pronoun = "person" in verb.subjects and self._chance(0.3)
        subject = self._pronoun() if pronoun else self.participant(verb.subjects, 0.85, relative=not short)
        clause = Clause("verb", subject, verb=verb, tense=self._tense())
        if verb.objects:
            target = self.participant(verb.objects, 0.5, relative=not short)
            if not short and target.human and self._chance(0.3):
                target = self._pronoun()
                # prevents "I see me", where the object is the subject itself
                if subject.pronoun and (target.person == subject.person or subject.many == target.many):
                    target = Participant(person=3 if subject.person != 3 else 1, gender=self._pick("mf"))
            clause = replace(clause, object=target)
        if _gives(verb):
            recipient = (
                self._person_name() if self._chance(0.4) else self._noun(self._pick(nouns_of("person")), definite=1)
            )
            clause = replace(clause, recipient=recipient)
        roles = sorted(verb.traits & {"to", "from", "in", "at"})
        if roles and ("placed" in verb.traits or (not short and self._chance(0.2 if verb.objects else 0.75))):
            role = self._pick(roles)
            clause = replace(clause, place=self._place(role), place_role=role)
        if short:
            return clause
        clause = self._with_time(clause)
        tool = verb.trait("with:")
        if tool and self._chance(0.25):
            instrument = Participant(
                noun=self._pick(nouns_of(tool) if tool in ("sharp",) else _named(tool)), definite=False
            )
            clause = replace(clause, instrument=instrument)
        elif clause.subject.human and not clause.time and self._chance(0.08):
            clause = replace(clause, companion=self._person_name())
        elif self._chance(0.3):
            fitting = [m for m in manners() if verb.en[0] in m.use]
            clause = replace(clause, manner=self._pick(fitting) if fitting else None)
        return clause

    def _tense(self) -> str:
        return self._pick(
            ("past", "past", "past", "present", "present", "future", "future", "habitual", "perfect", "can")
        )

    def _with_time(self, clause: Clause) -> Clause:
        fitting = [t for t in times() if clause.tense in t.use]
        if clause.verb and clause.verb.stative and clause.tense == "present":
            fitting = [t for t in fitting if t.en == "now:ADV"]
        if not fitting or not self._chance(0.3):
            return clause
        return replace(clause, time=self._pick(fitting), time_first=self._chance(0.4))


def _gives(verb: Verb) -> bool:
    return "give" in verb.traits


def _named(english: str) -> tuple[Noun, ...]:
    return tuple(noun for noun in nouns_of("thing") if noun.en == english)
