"""Read named entities in IOB2: each line holds a token and its tag, and an empty line ends each sentence.

Columns are separated by tabs, or by single spaces. If there are more than two, the first and the last are read
(CoNLL-2002, 2003). `-DOCSTART-` lines count as empty. A tag is `O`, `B-TYPE` where an entity begins, or `I-TYPE` inside
one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import Place, TaggedSentence
from bistil_ds.tasks.readers.hub import hub_rows, strings
from bistil_ds.tasks.readers.lines import at_least_one, quote, sentences
from bistil_ds.tasks.readers.tag_map import TagMap
from bistil_ds.tasks.task import ReadOptions
from bistil_ds.text.specification import HubDataset, parse_specification

DOCUMENT_START = "-DOCSTART-"


def read_tagged(source: str, options: ReadOptions) -> Iterator[TaggedSentence]:
    """Stream the sentences of an IOB2 file, or of a hub data set with columns `tokens` and `tags` (or `ner_tags`).

    `options.label_map` renames entity types (`DATE=O` removes the entities of that type) or whole tags (`B-OTH=O`).

    Raises:
        InputError: the data does not follow the format; a tag is not of IOB2; an I- tag continues no entity of its
            type, before or after renaming; or there is no sentence at all.
    """
    tag_map = TagMap(options.label_map)
    corpus = parse_specification(source)
    if isinstance(corpus, HubDataset):
        for place, where, row in hub_rows(corpus, options, {"tokens": (), "tags": ("ner_tags",)}):
            words, tags = strings(row["tokens"], "tokens", where), strings(row["tags"], "tags", where)
            if not words or not all(words) or len(words) != len(tags):
                raise InputError(
                    f"{where}: {len(words)} tokens and {len(tags)} tags; expected one tag a token, none empty"
                )
            yield TaggedSentence(tuple(words), tag_map.read(tags, _word_namer(where)), place)
        return
    yield from at_least_one(
        _of_file(corpus, options.flag, tag_map),
        f"{options.flag}: {corpus} holds no sentence; expected a token and its tag a line",
    )


def _of_file(path: Path, flag: str, tag_map: TagMap) -> Iterator[TaggedSentence]:
    split: _Columns | None = None
    for block in sentences(path, flag, _is_border):
        split = split or _Columns(block[0][1], block[0][0])
        words, tags = [], []
        for number, line in block:
            columns = split(line, f"{flag}: {path}, line {number}")
            words.append(columns[0])
            tags.append(columns[-1])
        first = block[0][0]
        place = Place(str(path), first)
        yield TaggedSentence(tuple(words), tag_map.read(tags, _line_namer(f"{flag}: {path}", first)), place)


def _is_border(line: str) -> bool:
    return not line or (line.startswith(DOCUMENT_START) and line[len(DOCUMENT_START) :][:1] in ("", " ", "\t"))


def _line_namer(name: str, first: int) -> Callable[[int], str]:
    return lambda index: f"{name}, line {first + index}"


def _word_namer(name: str) -> Callable[[int], str]:
    return lambda index: f"{name}, token {index + 1}"


class _Columns:
    """A splitter of lines into as many columns as the first line has, at tabs if that line has any, else at spaces."""

    def __init__(self, first_line: str, number: int) -> None:
        self.separator, self.named = ("\t", "tab") if "\t" in first_line else (" ", "space")
        self.count = len(first_line.split(self.separator))
        self.number = number

    def __call__(self, line: str, where: str) -> Sequence[str]:
        """Split a line into its columns.

        Raises:
            InputError: the line has only spaces, fewer than two columns, not as many columns as the first line, an
                empty column, or a tab although spaces separate the columns.
        """
        columns = line.split(self.separator)
        if line.isspace():
            raise InputError(f"{where}: only spaces; leave the line between two sentences empty")
        if len(columns) < 2:
            raise InputError(f"{where}: {quote(line)} is one column; expected a token, a tab or space, and its tag")
        if len(columns) != self.count:
            raise InputError(
                f"{where}: {len(columns)} columns parted by {self.named}s ({quote(line)}); "
                f"line {self.number} has {self.count}"
            )
        if "" in columns or (self.separator == " " and "\t" in line):
            raise InputError(
                f"{where}: an empty column, or tabs and spaces mixed ({quote(line)}); part all columns alike"
            )
        return columns
