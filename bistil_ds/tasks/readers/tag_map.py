"""Rename the IOB2 tags of a sentence as `--label_map` says; check that each I- tag continues an entity of its type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bistil_ds.errors import InputError
from bistil_ds.tasks.readers.lines import quote


class TagMap:
    """A map that renames entity types and whole tags.

    Args:
        label_map: type → type or O, or tag → tag.

    Raises:
        InputError: the new name of a type is not a type or O, or the new name of a tag is not a tag.
    """

    def __init__(self, label_map: Mapping[str, str]) -> None:
        self.label_map = label_map
        for old, new in label_map.items():
            whole = _is_tag(old) or old[1:2] == "-"  # S-PER, E-PER: whole tags of another scheme
            if not new or new.split() != [new]:
                raise InputError(f"--label_map {old}={new}: expected a name without spaces, or O")
            if whole and not _is_tag(new):
                raise InputError(f"--label_map {old}={new}: {new} is no tag; expected O, B-TYPE or I-TYPE")
            if not whole and new != "O" and _is_tag(new):
                raise InputError(f"--label_map {old}={new}: expected a type, or O; the B- and I- stay")

    def read(self, tags: Sequence[str], where: Callable[[int], str]) -> tuple[str, ...]:
        """Return the renamed tags of one sentence.

        Args:
            tags: the tags as they stand in the data.
            where: a function from a tag's 0-based index to its place, for messages.

        Raises:
            InputError: a tag is not IOB2 after renaming, or an I- tag continues no entity of its type, before or after
                renaming; the message names the place of the first such tag.
        """
        new_tags: list[str] = []
        before, new_before = "O", "O"
        for index, tag in enumerate(tags):
            new = self._renamed(tag)
            if not _is_tag(new):
                raise InputError(
                    f"{where(index)}: tag {quote(tag)}; expected O, B-TYPE or I-TYPE (IOB2), or a --label_map for it"
                )
            if new[0] == "I" and (new[2:] != new_before[2:] or self._is_other(tag, before)):
                renamed = "" if (tag, before) == (new, new_before) else f" (renamed: {new} after {new_before})"
                follows = f"follows {quote(before)}" if index else "begins the sentence"
                raise InputError(
                    f"{where(index)}: tag {quote(tag)} {follows}{renamed}; "
                    f"in IOB2 I-TYPE follows B-TYPE or I-TYPE, so an entity begins with B-"
                )
            new_tags.append(new)
            before, new_before = tag, new
        return tuple(new_tags)

    def _renamed(self, tag: str) -> str:
        if tag in self.label_map:
            return self.label_map[tag]
        if tag == "O" or not _is_tag(tag):
            return tag
        new = self.label_map.get(tag[2:], tag[2:])
        return new if new == "O" else tag[:2] + new

    def _is_other(self, tag: str, before: str) -> bool:
        """Return whether two tags, neither of them renamed as a whole, have different types before renaming."""
        return tag not in self.label_map and before not in self.label_map and tag[2:] != before[2:]


def _is_tag(tag: str) -> bool:
    return tag == "O" or (tag[:2] in ("B-", "I-") and len(tag) > 2 and tag.split() == [tag])
