"""Draw meanings at random: who does what, where and when, with words that go together."""

from __future__ import annotations

from dataclasses import replace

from bistil_ds.sample.grammar.meaning import Clause, Participant
from bistil_ds.sample.grammar.modifiers import adjectives, numerals
from bistil_ds.sample.grammar.nouns import nouns_of
from bistil_ds.sample.grammar.verb_clauses import VerbClausePlanner
from bistil_ds.sample.grammar.verbs import control_verbs, report_verbs, verbs

_COPULAS = ("adjective", "noun", "place", "compare")
_ROLES = {  # for "she is a nurse": the nouns that may follow "is"
    *("nurse", "doctor", "teacher", "student", "farmer", "cook", "driver", "worker", "merchant", "soldier", "singer"),
    *("writer", "judge", "hunter", "engineer", "lawyer", "carpenter"),
}
_FOUND = (  # for "there is X in Y": the kind of X, and the kinds of Y
    ("animal", "nature"),
    ("person", "building"),
    ("thing", "surface room"),
    ("building", "town"),
    ("food", "surface shop"),
    ("plant", "nature home"),
)


class Planner(VerbClausePlanner):
    """A source of meanings; the same `random.Random` state gives the same meanings."""

    def _copula(self) -> Clause:
        kind = self._pick(_COPULAS)
        tense = self._pick(("present", "present", "past", "past", "future"))
        if kind in ("adjective", "compare"):
            adjective = self._pick(adjectives())
            subject = replace(self.participant(" ".join(sorted(adjective.use)), 1.0), adjective=None)
            if kind == "compare":
                other = replace(self.participant(" ".join(sorted(adjective.use)), 1.0), adjective=None, definite=True)
                return Clause(kind, replace(subject, also=None), object=other, adjective=adjective, tense=tense)
            subject = self._pronoun() if subject.human and self._chance(0.3) else subject
            clause = Clause(kind, subject, adjective=adjective, tense=tense)
        elif kind == "noun":
            role = self._pick([noun for noun in nouns_of("person") if noun.en in _ROLES])
            subject = self._pronoun() if self._chance(0.3) else self._person_name()
            clause = Clause(
                kind, subject, object=Participant(noun=role, plural=subject.many, definite=False), tense=tense
            )
        else:
            subject = self.participant("person animal small vehicle", 1.0)
            clause = Clause(kind, subject, place=self._place("in"), tense=tense)
        return replace(clause, negative=self._chance(0.15))

    def _exist(self) -> Clause:
        kind, where = self._pick(_FOUND)
        thing = replace(self._noun(self._pick(nouns_of(kind)), plain=True, definite=0), plural=False)
        if "parent" in (thing.noun.kinds if thing.noun else ()):
            thing = Participant(noun=self._pick(nouns_of("guest")), definite=False)
        if thing.noun and not thing.noun.mass and self._chance(0.5):
            thing = replace(thing, plural=True)
            counted = self._chance(0.5)
            thing = replace(thing, number=self._pick(numerals())) if counted else replace(thing, quantifier="many")
        place = Participant(noun=self._pick(nouns_of(where)))
        tense = self._pick(("present", "present", "past", "future"))
        return Clause("exist", thing, place=place, tense=tense, negative=not thing.plural and self._chance(0.2))

    def _have(self) -> Clause:
        owner = self._pronoun() if self._chance(0.3) else self._pick((self._person_name, self._owner))()
        thing = self._noun(self._pick(nouns_of("goods livestock pet home wealth")), plain=True, definite=0)
        if thing.plural:
            thing = replace(thing, number=self._pick(numerals()))
        tense = self._pick(("present", "present", "past"))
        return Clause("have", owner, object=thing, tense=tense, negative=self._chance(0.2))

    def _control(self) -> Clause:
        personal = [v for v in verbs() if "person" in v.subjects.split() and not v.stative]
        clause = replace(self._verb_clause(self._pick(personal)), companion=None)
        control = self._pick(control_verbs())
        tense = self._pick(("past", "present") if control[0].stative else ("past", "past", "future"))
        human = clause.subject if clause.subject.human else self._person_name()
        return replace(clause, subject=human, control=control, tense=tense, time=None, manner=None)

    def _report(self) -> Clause:
        verb, case = self._pick(report_verbs())
        said = self._verb_clause(self._pick(verbs()), short=True) if self._chance(0.7) else self._copula()
        if said.kind == "compare":
            said = replace(said, kind="adjective", object=None)
        tense = self._pick(("past", "past", "future", "present"))
        speaker = self._pick((self._person_name, self._pronoun, self._owner))()
        outer = Clause("verb", speaker, verb=verb, tense=self._pick(("past", "present")), complement_case=case)
        return replace(outer, complement=replace(said, tense=tense, time=None), negative=self._chance(0.1))

    def _simple(self) -> Clause:
        clause = self._verb_clause(self._pick(verbs()))
        return replace(clause, negative=clause.manner is None and self._chance(0.15))

    def _linked(self) -> Clause:
        link = self._pick(("and", "but", "because", "when", "if"))
        first, second = (self._verb_clause(self._pick(verbs()), short=True) for _ in range(2))
        if link == "if":
            tenses = ("future", "habitual")
        elif link in ("when", "because"):
            tenses = ("past", "past")
        else:
            tenses = (first.tense, first.tense)
        first = replace(first, tense=tenses[0])
        second = replace(second, tense=tenses[1], negative=link == "but" or (link != "when" and self._chance(0.15)))
        return replace(first, link=link, linked=second)

    def _question(self) -> Clause:
        clause = self._verb_clause(self._pick(verbs()), short=True)
        clause = replace(clause, tense=self._pick(("past", "past", "present", "future", "habitual")))
        mood = self._pick(("question", "who", "what", "where"))
        if mood == "who" and "person" in clause.verb.subjects.split():  # type: ignore[union-attr]
            return replace(clause, subject=Participant(asked="who"))
        if mood == "what" and clause.object and not clause.object.animate and not clause.verb.en_preposition:  # type: ignore[union-attr]
            return replace(clause, object=Participant(asked="what"))
        if mood == "where" and "in" in clause.verb.traits:  # type: ignore[union-attr]
            return replace(clause, mood="where", place=None)
        return replace(self._with_time(clause), mood="question")

    def _command(self) -> Clause:
        doable = [
            v for v in verbs() if "person" in v.subjects.split() and not v.stative and v.en[0] not in ("fall", "lose")
        ]
        clause = self._verb_clause(self._pick(doable), short=True)
        return replace(
            clause, subject=Participant(person=2), tense="habitual", mood="command", negative=self._chance(0.3)
        )

    def meaning(self) -> Clause:
        """Draw one meaning."""
        kinds = (
            (0.40, self._simple),
            (0.52, self._copula),
            (0.58, self._exist),
            (0.64, self._have),
            (0.70, self._control),
            (0.78, self._report),
            (0.88, self._linked),
            (0.96, self._question),
            (1.01, self._command),
        )
        draw = self.rng.random()
        return next(make for bound, make in kinds if draw < bound)()
