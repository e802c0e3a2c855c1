"""Convert the tags of a sentence from any scheme to IOB2, and rename them as `--label_map` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bistil_ds.errors import InputError
from bistil_ds.tasks.labels import map_advice
from bistil_ds.tasks.readers.lines import quote
from bistil_ds.tasks.tag_schemes import BEGINS, CONTINUES, is_iob2, is_tag, to_iob2


class TagMap:
    """A map from tags of any scheme to IOB2 that also renames entity types and whole tags.

    An I- tag (or E-, L-, M-) that continues no entity of its type begins one, as in IOB1 and conlleval.

    Args:
        label_map: entries of three kinds: type → type or O; any tag in the data → IOB2 tag; IOB2 tag → what the
            evaluated model calls that tag.

    Attributes:
        meanings: what the evaluated model calls a tag → the IOB2 tag.
        mended: number of I- tags (or E-, L-, M-) that were read as the beginning of an entity.
        first_mended: the place of the first of them.
        is_iob1: whether every B- tag so far follows an entity of its own type directly: only there does IOB1 need one.

    Raises:
        InputError: a new name is empty or has spaces, or two tags get the same name.
    """

    def __init__(self, label_map: Mapping[str, str]) -> None:
        self.label_map = label_map
        self.meanings: dict[str, str] = {}
        self.mended, self.first_mended, self.is_iob1 = 0, "", True
        for old, new in label_map.items():
            if not new or new.split() != [new]:
                raise InputError(f"--label_map {old}={new}: expected a name without spaces, or O")
            if is_iob2(old) and not is_iob2(new):
                other = self.meanings.setdefault(new, old)
                if other[1:] != old[1:]:
                    raise InputError(f"--label_map {old}={new}: {other} is called {new}, too; expected a name for each")
                self.meanings[new] = max(other, old)  # I-TYPE, where both tags of a type have one name

    def could_be(self, cell: str) -> bool:
        """Return whether a cell could be a tag, before renaming."""
        return cell == "O" or is_tag(cell) or cell in self.label_map

    def read(self, tags: Sequence[str], where: Callable[[int], str]) -> tuple[str, ...]:
        """Return the tags of one sentence in IOB2, renamed; what a model calls them is left to `meanings`.

        Args:
            tags: the tags as they stand in the data.
            where: a function from a tag's 0-based index to its place, for messages.

        Raises:
            InputError: a tag belongs to no scheme, or renaming left an I- tag that continues no entity of its type; the
                message names the place of the first such tag.
        """
        known = [self._known(tag, where, index) for index, tag in enumerate(tags)]
        plain = to_iob2(known)
        found: list[str] = []
        for index, (tag, iob2) in enumerate(zip(known, plain)):
            if tag[0] in BEGINS:
                self.is_iob1 = self.is_iob1 and index > 0 and plain[index - 1][2:] == tag[2:]
            elif tag[0] in CONTINUES and iob2[0] == "B":
                self.mended += 1
                self.first_mended = self.first_mended or where(index)
            renamed, before = self._renamed(tag, iob2), found[-1] if found else "O"
            if renamed[0] == "I" and renamed[2:] != before[2:]:
                raise InputError(
                    f"{where(index)}: tag {quote(tags[index])} is renamed to {quote(renamed)} after {quote(before)}; "
                    "rename both the B- and the I- of a type, or the type"
                )
            found.append(renamed)
        return tuple(found)

    def _known(self, tag: str, where: Callable[[int], str], index: int) -> str:
        """Return a tag of some scheme: `tag` itself, or what the label map makes of it."""
        known = tag if tag == "O" or is_tag(tag) else self.label_map.get(tag, tag)
        if known != "O" and not is_tag(known):
            raise InputError(f"{where(index)}: {self._complaint(tag, known)}")
        return known

    def _renamed(self, tag: str, plain: str) -> str:
        """Return the new name of `tag`; `plain` is the same tag in IOB2."""
        for whole in (plain, tag):
            if (new := self.label_map.get(whole, "")) and is_iob2(new):
                return new
        kind = plain[2:]
        if kind not in self.label_map:
            return plain
        new = self.label_map[kind]
        if is_tag(new):
            if plain != "O" and tag != new:
                raise InputError(f"--label_map {kind}={new}: expected a type, or O, because the data has {tag}")
            return plain
        return new if new == "O" else plain[:2] + new

    def _complaint(self, tag: str, known: str) -> str:
        if known != tag:
            return f"--label_map {tag}={known}: {known} is no tag; expected O, B-TYPE or I-TYPE"
        example = {"i": "I-TYPE", "o": "O", "0": "O"}.get(tag[:1].lower(), "B-TYPE")
        if tag[1:2] in ("_", "-", ":") and tag[0].upper() in BEGINS + CONTINUES and tag[2:]:
            example = f"{tag[0].upper()}-{tag[2:]}"
        elif tag.replace("-", "_").isidentifier() and len(tag) > 1:
            example = f"I-{tag}"  # a type without prefix, as in the scheme IO
        return f"tag {quote(tag)}; expected O, B-TYPE or I-TYPE (IOB2, IOB1, BIOES or BILOU){map_advice(tag, example)}"
