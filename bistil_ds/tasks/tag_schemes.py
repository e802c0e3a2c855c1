"""Tags of named entities: read any scheme as IOB2, and write IOB2 as a model with other labels names it.

IOB1, IOB2, BIOES, BILOU, BMES, BMEWO and IO differ in the first letter of a tag, or lack it: types alone (`PER`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

BEGINS, CONTINUES, ENDS = "BSUW", "IELM", "SUWEL"  # first letters of tags


def is_tag(tag: str) -> bool:
    """Return whether `tag` is a letter of some scheme, a hyphen and a type."""
    return tag[1:2] == "-" and tag[0] in BEGINS + CONTINUES and len(tag) > 2 and tag.split() == [tag]


def is_iob2(tag: str) -> bool:
    """Return whether `tag` is O, B-TYPE or I-TYPE."""
    return tag == "O" or (is_tag(tag) and tag[0] in "BI")


def to_iob2(tags: Sequence[str]) -> list[str]:
    """Return the tags of a sentence in IOB2.

    A tag that continues no entity of its type begins one, as in IOB1 and for conlleval. A tag without a letter is a
    type, and means I-TYPE, as in IO.
    """
    found: list[str] = []
    open_type = ""  # the type that an I- tag would continue
    for tag in tags:
        letter, kind = (tag[0], tag[2:]) if is_tag(tag) else ("I", tag)
        if tag == "O":
            found.append("O")
        else:
            found.append(f"{'I' if letter in CONTINUES and kind == open_type else 'B'}-{kind}")
        open_type = "" if tag == "O" or letter in ENDS else kind
    return found


class ModelTags:
    """The labels that a model has for entities.

    Args:
        labels: the model's labels: O and tags of any scheme; or types alone, as in IO.
        meanings: a label that is neither → the IOB2 tag that it stands for.
    """

    def __init__(self, labels: Sequence[str], meanings: Mapping[str, str]) -> None:
        self.label_of = {meanings.get(label, label): label for label in labels}
        tags = {tag for tag in self.label_of if is_tag(tag)}
        self.types = {tag[2:] for tag in tags}
        self.is_iob1 = any(tag[0] == "I" and f"B-{tag[2:]}" not in tags for tag in tags)  # IOB1 rarely needs B-
        self.are_tags = tags | {"O"} >= self.label_of.keys()  # else a label may stand for any tag

    def name(self, tags: Sequence[str]) -> list[str | None]:
        """Return the model's label for each of a sentence's IOB2 tags.

        A label is None where the model has tags of the type, but none for this place in an entity. A tag of a type that
        the model does not know stays as it is. So does every tag that the model lacks if some of its labels have no
        known meaning.
        """
        found: list[str | None] = []
        for tag, before, after in zip(tags, ["O", *tags], [*tags[1:], "O"]):
            kind = tag[2:]
            choices = [tag, kind]  # as it is, or the type alone
            if self.are_tags and kind:
                letters = self._letters(tag[0] == "B", after != f"I-{kind}", before[2:] == kind)
                choices = [f"{letter}-{kind}" for letter in letters]
            unnamed = None if self.are_tags and kind in self.types else tag
            found.append(next((self.label_of[choice] for choice in choices if choice in self.label_of), unnamed))
        return found

    def _letters(self, begins: bool, ends: bool, follows: bool) -> str:
        """Return the letters that a word's tag has in some scheme, the best first.

        Args:
            begins, ends: whether the word begins its entity, and ends it.
            follows: whether the word before it belongs to an entity of its type.
        """
        if not begins:
            return ("EL" if ends else "") + "IM"
        if self.is_iob1 and not follows:
            return "IB"
        return ("SUW" if ends else "") + "BI"
