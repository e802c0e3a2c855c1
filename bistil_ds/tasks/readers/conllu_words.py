"""Read the syntactic words of one CoNLL-U sentence; check its columns and its IDs (word numbers)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import Place
from bistil_ds.tasks.readers.lines import Block, quote

FIELDS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
MULTIWORD = re.compile(r"([1-9][0-9]{0,4})-([1-9][0-9]{0,4})")
EMPTY_NODE = re.compile(r"(0|[1-9][0-9]{0,4})\.([1-9][0-9]{0,4})")


@dataclass(frozen=True, slots=True)
class Words:
    """The columns of a sentence's syntactic words: lists with one entry for each word, as written in the data."""

    forms: list[str]
    upos: list[str]
    heads: list[str]
    relations: list[str]
    place: Place
    numbers: list[int]  # 1-based line number of each word; empty for a hub data set
    name: str  # the start of messages: flag and file, or flag and hub row

    def where(self, index: int) -> str:
        """Return the place of the word with this 0-based index, for messages."""
        return f"{self.name}, line {self.numbers[index]}" if self.numbers else f"{self.name}, word {index + 1}"


def words_of_block(block: Block, file: str, flag: str) -> Words:
    """Return the syntactic words of a sentence from its numbered lines; leave out multiword tokens and empty nodes.

    Raises:
        InputError: a line does not have ten filled columns; an ID is out of order; a word's FORM begins or ends with a
            space; a multiword token or empty node has HEAD or DEPREL; a comment stands inside the sentence; there is no
            word; or the sentence ends before the last word of a multiword token.
    """
    name = f"{flag}: {file}"
    first = 0
    while first < len(block) and block[first][1].startswith("#"):
        first += 1
    if first == len(block):
        raise InputError(f"{name}, line {block[0][0]}: comments without a sentence; words must follow at once")
    forms: list[str] = []
    upos: list[str] = []
    heads: list[str] = []
    relations: list[str] = []
    numbers: list[int] = []
    numbering = _Numbering()
    for number, line in block[first:]:
        columns = line.split("\t")
        if len(columns) != len(FIELDS) or "" in columns:
            raise InputError(f"{name}, line {number}: {_wrong_columns(line, columns)}")
        if complaint := numbering.complaint_about(columns):
            raise InputError(f"{name}, line {number}: {complaint}")
        if numbering.words == len(forms):  # the line is a multiword token or an empty node, not a word
            continue
        form = columns[1]
        if form != form.strip():
            raise InputError(f"{name}, line {number}: FORM {quote(form)} begins or ends with a space")
        forms.append(form)
        upos.append(columns[3])
        heads.append(columns[6])
        relations.append(columns[7])
        numbers.append(number)
    if not forms or numbering.covered > len(forms):
        raise InputError(
            f"{name}, line {block[-1][0]}: the sentence ends after word {len(forms)}; expected "
            + (f"word {numbering.covered}, of the multiword token above" if forms else "at least one word")
        )
    return Words(forms, upos, heads, relations, Place(file, numbers[0]), numbers, name)


class _Numbering:
    """A check of the lines of one sentence, one after the other, with counters of the IDs so far."""

    def __init__(self) -> None:
        self.words = 0  # number of syntactic words
        self.covered = 0  # number of the last word that a multiword token covers
        self.empty = 0  # number of empty nodes since the last word

    def complaint_about(self, columns: list[str]) -> str | None:
        """Count the next line, given its columns; return what is wrong with its ID, HEAD or DEPREL, or None."""
        found, expected = columns[0], self.words + 1
        if found == str(expected):
            self.words, self.empty = expected, 0
            return None
        if match := MULTIWORD.fullmatch(found):
            start, end = int(match[1]), int(match[2])
            if start != expected or end < start:
                return f"ID is {found}; a multiword token stands before its first word, here {expected}-N"
            if start <= self.covered:
                return f"ID is {found}; it overlaps the multiword token that ends with word {self.covered}"
            self.covered = end
        elif match := EMPTY_NODE.fullmatch(found):
            if (int(match[1]), int(match[2])) != (self.words, self.empty + 1):
                return f"ID is {found}; an empty node here is {self.words}.{self.empty + 1}"
            self.empty += 1
        elif found == "1":
            return f"ID is 1 again; expected {expected}, or an empty line before a new sentence"
        else:
            return f"ID is {quote(found)}; expected {expected}"
        if columns[6:8] != ["_", "_"]:
            return f"ID is {found}, not a word's, but HEAD and DEPREL are not _"
        return None


def _wrong_columns(line: str, columns: list[str]) -> str:
    if line.isspace():
        return "only spaces; leave the line between two sentences empty"
    if line.startswith("#"):
        return "a comment inside a sentence; comments stand before its words, an empty line after them"
    if len(columns) != len(FIELDS):
        return f"{len(columns)} tab-separated columns; CoNLL-U has {len(FIELDS)} ({quote(line)})"
    return f"{FIELDS[columns.index('')]} is empty; CoNLL-U writes _ for nothing"
