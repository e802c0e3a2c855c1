"""Read a whole tagged file to find out which of its columns hold the words and the tags.

Public files differ: CoNLL-2003 has `word POS chunk TAG`, UNER `number word TAG …`, MultiCoNER `word _ _ TAG`, WikiAnn
`en:word TAG`, GermEval 2014 `number word TAG TAG`. If the cells do not make clear which columns are meant, an error
asks for --columns.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bistil_ds.errors import InputError, Notice
from bistil_ds.tasks.languages import language_code
from bistil_ds.tasks.readers.columns import check_names
from bistil_ds.tasks.readers.lines import quote, sentences
from bistil_ds.tasks.task import ReadOptions

DOCUMENT_START = "-DOCSTART-"
COMMENT = re.compile(r"#\s*(id\s|[^\s=]+\s*=)")  # `# id … domain=en` in MultiCoNER, `# key = value` in CoNLL-U
CHUNKS = {"NP", "VP", "PP", "ADVP", "SBAR", "ADJP", "PRT", "CONJP", "INTJ", "LST", "UCP", "NC", "VC", "PC"}  # CoNLL


@dataclass(frozen=True)
class Layout:
    """The columns of a tagged file, and which of them hold words and tags.

    Attributes:
        separator: a tab; or a space, which means that one or several spaces separate the cells.
        width: number of columns.
        word, tag: 0-based numbers of the columns with words and tags.
        marked: whether the words have their language before them, as in `en:word`.
    """

    separator: str
    width: int
    word: int
    tag: int
    marked: bool

    def split(self, line: str) -> list[str]:
        """Return the cells of a line."""
        return _split(line, self.separator)

    def is_comment(self, line: str, is_tag: Callable[[str], bool]) -> bool:
        """Return whether a line before the words of a sentence is a comment, and not a row, whole or damaged."""
        cells = self.split(line)
        if not line.startswith("#") or (len(cells) == self.width and is_tag(cells[self.tag])):
            return False
        return bool(COMMENT.match(line)) or (len(cells) != self.width and not any(map(is_tag, cells[1:])))


def is_border(line: str) -> bool:
    """Return whether a line ends a sentence: it is blank, or begins a document (`-DOCSTART-` in CoNLL-2003)."""
    if not line or line[0] in "\t -":
        return not line.strip(" \t") or re.split("[ \t]", line, maxsplit=1)[0] == DOCUMENT_START
    return False


def find_layout(
    path: Path, options: ReadOptions, tags_column: str, is_tag: Callable[[str], bool], is_outside: Callable[[str], bool]
) -> Layout | None:
    """Read a file once, and return its layout; None if it has no sentence.

    Args:
        tags_column: our name of the column with the tags; the column with the words is `tokens`. For each of the two,
            `options.columns` may give its number, counted from 1.
        is_tag: says whether a cell could be a tag.
        is_outside: says whether a tag, such as O, does not help to recognise the column of tags.

    Raises:
        InputError: the file cannot be read, or it is not clear from its cells which columns are meant.
    """
    check_names(options, ("tokens", tags_column))
    seen: _Seen | None = None
    spare: list[str] = []  # the first sentence: its lines are rows after all if every line of the file begins with #
    for block in sentences(path, options.flag, is_border):
        rows = [line for _, line in block]
        spare = spare or rows
        while rows and rows[0].startswith("#") and (seen is None or not seen.may_be_row(rows[0])):
            rows = rows[1:]
        if rows:
            seen = seen or _Seen(rows[0], is_tag)
            seen.add(rows)
    if seen is None:
        if not spare or len(spare[-1].split()) != 2:
            return None
        seen = _Seen(spare[-1], is_tag)
        seen.add(spare)
    where = f"{options.flag}: {path}"
    if seen.width == 1:
        return Layout(seen.separator, 1, 0, 0, False)
    tag, word = _asked(options, tags_column, seen, where), _asked(options, "tokens", seen, where)
    if tag is not None and tag == word:
        raise InputError(
            f"--columns tokens={tag + 1} {tags_column}={tag + 1}: one column cannot hold both; expected two"
        )
    if tag is None and word is not None and word + 1 == seen.width == 2:
        raise InputError(f"{where}: --columns tokens=2 leaves only column 1 for the tags; say so: {tags_column}=1")
    tag = _tag_column(seen, word, tags_column, is_outside, where) if tag is None else tag
    word = _word_column(seen, tag, tags_column, where) if word is None else word
    return Layout(seen.separator, seen.width, word, tag, seen.marked[word] * 2 > seen.rows)


class _Seen:
    """Counts of what the columns of a file hold; only rows with as many cells as the first row are counted."""

    def __init__(self, line: str, is_tag: Callable[[str], bool]) -> None:
        self.separator = "\t" if "\t" in line else " "
        self.width = len(_split(line, self.separator))
        self.is_tag = is_tag
        self.rows = 0
        self.tags: list[dict[str, int]] = [{} for _ in range(self.width)]  # for each column: tag → number of its cells
        self.marked = [0] * self.width  # for each column: number of cells that begin with a language
        self.counts_from = {0, 1}  # first numbers from which column 1 could count the words of every sentence so far
        self.numbered = [0] * self.width  # for each column: number of cells that end in a number
        self.cells: list[dict[str, None]] = [{} for _ in range(self.width)]  # for each column: its different cells
        self.varies = False  # whether some sentence has different cells in column 1
        self.several = False  # whether some sentence has several rows

    def may_be_row(self, line: str) -> bool:
        cells = _split(line, self.separator)
        return len(cells) == self.width and any(map(self.is_tag, cells))

    def add(self, lines: list[str]) -> None:
        rows = [cells for cells in (_split(line, self.separator) for line in lines) if len(cells) == self.width]
        self.rows += len(rows)
        for cells in rows:
            for column, cell in enumerate(cells):
                self.cells[column][cell] = None
                self.numbered[column] += cell[-1:].isdecimal()
                counts = self.tags[column]
                if cell in counts or self.is_tag(cell):
                    counts[cell] = counts.get(cell, 0) + 1
                elif ":" in cell:
                    self.marked[column] += language_mark(cell) is not None
        first = [cells[0] for cells in rows]
        self.counts_from = {n for n in self.counts_from if first == [str(n + at) for at in range(len(first))]}
        self.varies = self.varies or len(set(first)) > 1
        self.several = self.several or len(first) > 1

    def is_numbered(self, column: int) -> bool:
        """Return whether most cells of a column end in a number, as numbers and ids do, and few words."""
        return self.numbered[column] * 2 > self.rows


def language_mark(cell: str) -> tuple[str, str] | None:
    """Return (language, word) for a word with its language before it: ("en", "Oslo") for `en:Oslo`; else None."""
    language, colon, word = cell.partition(":")
    code = language.split("-")[0]
    if not colon or not word or len(language) > 12 or not code.islower():
        return None
    return (language, word) if language == "simple" or language_code(code) is not None else None


def _split(line: str, separator: str) -> list[str]:
    if separator == " ":
        cells = line.rstrip(" ").split(" ")
        return [*cells[:1], *filter(None, cells[1:])]  # several spaces separate two cells as one space does
    return [cell.strip(" ") for cell in line.split("\t")]


def _asked(options: ReadOptions, name: str, seen: _Seen, where: str) -> int | None:
    number = options.columns.get(name)
    if number is None:
        return None
    if not number.isdecimal() or len(number) > 4 or not 1 <= int(number) <= seen.width:
        raise InputError(f"{where} has {seen.width} columns without a header; expected --columns {name}=NUMBER, from 1")
    return int(number) - 1


def _tag_column(seen: _Seen, word: int | None, tags_column: str, is_outside: Callable[[str], bool], where: str) -> int:
    """Return the only column in which most cells are tags, but not tags of chunks (B-NP).

    Columns whose tags say nothing (O) count only if no other has tags; the last of them is returned. So do columns of
    chunks, if there is nothing else. The first column is never returned: words come first, and may look like tags
    (B-52). In a file with two columns, the last one is returned even if its cells are not tags.

    Raises:
        InputError: there are several such columns; or there is none, and the file has more than two columns.
    """
    likely = [c for c in range(1, seen.width) if c != word and sum(seen.tags[c].values()) * 2 > seen.rows]
    telling = {c: {tag for tag in seen.tags[c] if not is_outside(tag)} for c in likely}
    silent = [c for c in likely if not telling[c]]
    chunks = [c for c in likely if telling[c] and {tag[2:] for tag in telling[c]} <= CHUNKS]
    found = [c for c in likely if c not in (*silent, *chunks)] or silent[-1:] or chunks
    if len(found) > 1:
        listed = " and ".join(str(c + 1) for c in found)
        advice = f"--columns {tags_column}={found[0] + 1}"
        raise InputError(f"{where}: columns {listed} hold tags; say which of them are meant, such as {advice}")
    if not found and seen.width > 2:
        advice = f"--columns {tags_column}={2 if word != 1 else 3}"
        raise InputError(
            f"{where}: columns 2 to {seen.width} hold no tags of this task; say which do, such as {advice}"
        )
    return found[0] if found else seen.width - 1


def _word_column(seen: _Seen, tag: int, tags_column: str, where: str) -> int:
    """Return the first column other than the tags, or the second one if the first counts the words of a sentence.

    Words differ more than what else a column may hold, such as parts of speech. A Notice says which column is read if
    another one, of which most cells do not end in numbers, has more different cells.

    Raises:
        InputError: it is the first column, and the rows of each sentence all have the same cell there; most of its
            cells end in numbers, and it is the first column or another one differs as much; or another column has more
            than twice as many different cells.
    """
    others = [c for c in range(seen.width) if c != tag]  # begins with 0, unless --columns made that the tags
    counted = others[0] == 0 and len(others) > 1 and bool(seen.counts_from)
    word, *rest = others[counted:]
    if not rest:
        return word
    different = [0 if c != word and seen.is_numbered(c) else len(seen.cells[c]) for c in range(seen.width)]
    best = max(rest, key=lambda c: different[c])
    strange = ""
    if word == 0 and seen.several and not seen.varies:
        strange = "the same cell in all rows of a sentence"
    elif seen.is_numbered(word) and (word == 0 or 1 < different[word] <= different[best]):
        strange = "numbers or ids that do not count the words"
    elif different[best] > 2 * different[word]:
        strange = f"only {different[word]} different cells (column {best + 1}: {different[best]})"
    advice = f"--columns tokens={best + 1} {tags_column}={tag + 1}"
    if strange:
        raise InputError(
            f"{where}: column {word + 1} holds {strange}; say which column holds the words, such as {advice}"
        )
    if different[best] > different[word]:
        read = f"column {word + 1} is read as words ({quote(next(iter(seen.cells[word])))}), column {tag + 1} as tags"
        instead = f"if column {best + 1} ({quote(next(iter(seen.cells[best])))}) holds the words, give {advice}"
        warnings.warn(f"{where}: {read}; {instead}", Notice, stacklevel=2)
    return word
