"""The meaning of a sentence, independent of any language."""

from __future__ import annotations

from dataclasses import dataclass

from bistil_ds.sample.grammar.modifiers import Modifier
from bistil_ds.sample.grammar.names import Name
from bistil_ds.sample.grammar.nouns import Noun
from bistil_ds.sample.grammar.verbs import Verb


@dataclass(frozen=True)
class Participant:
    """A noun phrase: `noun`, `name`, or the question word `asked`; without any of them, a personal pronoun."""

    noun: Noun | None = None
    name: Name | None = None
    surname: str = ""
    person: int = 3
    plural: bool = False
    gender: str = "n"
    definite: bool = True
    adjective: Modifier | None = None
    number: Modifier | None = None
    quantifier: str = ""  # "many", "every", "all"; the English grammar also sets "no"
    demonstrative: str = ""  # "near", "far"
    possessor: Participant | None = None
    relative: Relative | None = None
    also: Participant | None = None  # joined to this one by "and"
    asked: str = ""  # "who", "what"

    @property
    def pronoun(self) -> bool:
        return self.noun is None and self.name is None and not self.asked

    @property
    def animate(self) -> bool:
        if self.noun:
            return self.noun.animate
        return self.name.kind == "PER" if self.name else self.asked != "what"

    @property
    def human(self) -> bool:
        return self.animate and not (self.noun and "animal" in self.noun.kinds)

    @property
    def many(self) -> bool:
        """Return whether verbs and pronouns that refer to this participant are plural."""
        return self.plural or self.also is not None


@dataclass(frozen=True)
class Relative:
    """A relative clause of a noun; `gap` is the noun's role in that clause, "subject" or "object"."""

    clause: Clause
    gap: str


@dataclass(frozen=True)
class Clause:
    """A predicate with its participants.

    kind        verb, adjective ("is big"), noun ("is a cook"), place ("is in"), exist ("there is"), have,
                compare ("is bigger than")
    tense       past, present, future, habitual, perfect, can
    mood        statement, question (yes or no), where, command; "who" and "what" are participants with `asked`
    place_role  to, from, in, at
    control     the verb that takes `verb` as an infinitive ("wants to read"), and the infinitive's form in Turkish
    complement  a clause that is said, thought or known; `complement_case` is its case in Turkish
    link        and, but, because, when, if: the conjunction of the clause `linked`
    """

    kind: str
    subject: Participant
    verb: Verb | None = None
    object: Participant | None = None
    recipient: Participant | None = None
    adjective: Modifier | None = None
    tense: str = "present"
    negative: bool = False
    mood: str = "statement"
    place: Participant | None = None
    place_role: str = "in"
    companion: Participant | None = None
    instrument: Participant | None = None
    time: Modifier | None = None
    time_first: bool = False
    manner: Modifier | None = None
    control: tuple[Verb, str] | None = None
    complement: Clause | None = None
    complement_case: str = ""
    link: str = ""
    linked: Clause | None = None
