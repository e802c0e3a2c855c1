"""Stream sentences of words and tags from a file with columns, from JSON, or from a hub data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import Place
from bistil_ds.tasks.readers.columns import OtherNames
from bistil_ds.tasks.readers.hub import strings
from bistil_ds.tasks.readers.json_documents import looks_like_json
from bistil_ds.tasks.readers.language import LanguageFilter
from bistil_ds.tasks.readers.layout import Layout, find_layout, is_border, language_mark
from bistil_ds.tasks.readers.lines import at_least_one, quote, sentences
from bistil_ds.tasks.readers.records import records
from bistil_ds.tasks.task import ReadOptions
from bistil_ds.text.specification import HubDataset, parse_specification

PARTED = {"\t": "tabs", " ": "spaces"}


@dataclass(frozen=True, slots=True)
class TaggedRow:
    """A sentence as the data has it; `where` maps a word's 0-based index to its place in messages."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    place: Place
    where: Callable[[int], str]


@dataclass(frozen=True)
class TagColumn:
    """The column with the tags.

    Attributes:
        name, others: our name of the column, and its names in well-known data sets.
        is_tag: says whether a cell could be a tag.
        is_outside: says whether a tag, such as O, does not help to recognise the column.
    """

    name: str
    others: tuple[str, ...]
    is_tag: Callable[[str], bool]
    is_outside: Callable[[str], bool] = lambda tag: False


def tagged_rows(source: str, options: ReadOptions, column: TagColumn) -> Iterator[TaggedRow]:
    """Stream the sentences; if the data says their language, stream only those in `options.language`.

    Raises:
        InputError: the data does not follow its format; it is not clear which columns are meant; or there is no
            sentence.
    """
    corpus = parse_specification(source)
    if isinstance(corpus, HubDataset) or looks_like_json(corpus, options.flag):
        yield from _of_records(source, options, {"tokens": ("words",), column.name: column.others}, column.name)
        return
    message = f"{options.flag}: {corpus} holds no sentence; expected a token and its tag a line"
    layout = find_layout(corpus, options, column.name, column.is_tag, column.is_outside)
    if layout is None:
        raise InputError(message)
    chosen = LanguageFilter(options, f"{options.flag}: {corpus}")
    yield from at_least_one(_of_columns(corpus, options.flag, layout, column, chosen), message)


def _of_records(source: str, options: ReadOptions, wanted: OtherNames, tags_name: str) -> Iterator[TaggedRow]:
    for place, where, record in records(source, options, wanted):
        words, tags = strings(record["tokens"], "tokens", where), _names(record[tags_name], tags_name, where)
        if not words or not all(words) or len(words) != len(tags):
            raise InputError(
                f"{where}: {len(words)} tokens and {len(tags)} {tags_name}; expected one tag a token, none empty"
            )
        yield TaggedRow(tuple(words), tuple(tags), place, _namer(where, "token"))


def _names(values: object, column: str, where: str) -> list[str]:
    """Return the tags as strings; class numbers become strings of digits, which `--label_map` can rename."""
    if isinstance(values, list) and all(isinstance(one, int) and not isinstance(one, bool) for one in values):
        return [str(one) for one in values]
    return strings(values, column, where)


def _of_columns(
    path: Path, flag: str, layout: Layout, column: TagColumn, chosen: LanguageFilter
) -> Iterator[TaggedRow]:
    name, number_of_first = f"{flag}: {path}", 0
    for block in sentences(path, flag, is_border):
        at = 0
        while at < len(block) and layout.is_comment(block[at][1], column.is_tag):
            at += 1
        if at == len(block):
            continue
        number_of_first = number_of_first or block[at][0]
        words, tags, languages = [], [], set()
        for number, line in block[at:]:
            cells = _cells(line, layout, f"{name}, line {number}", number_of_first)
            word = cells[layout.word]
            if layout.marked:
                if (found := language_mark(word)) is None:
                    raise InputError(f"{name}, line {number}: {quote(word)} has no language before it, as others have")
                language, word = found
                languages.add(language)
            words.append(word)
            tags.append(cells[layout.tag])
        first = block[at][0]
        if len(languages) > 1:
            raise InputError(f"{name}, line {first}: the sentence has words marked {' and '.join(sorted(languages))}")
        if all(chosen.keeps(language, f"{name}, line {first}") for language in languages):
            yield TaggedRow(tuple(words), tuple(tags), Place(str(path), first), _namer(name, "line", first))
    chosen.check()


def _cells(line: str, layout: Layout, where: str, number_of_first: int) -> list[str]:
    cells = layout.split(line)
    inner = line.splitlines()
    if len(inner) > 1 and all(len(layout.split(part)) > 1 for part in inner if part):
        raise InputError(f"{where} holds several rows ({quote(line)}), parted by other signs than line ends; use LF")
    if len(cells) < 2:
        raise InputError(f"{where}: {quote(line)} is one column; expected a token, a tab or space, and its tag")
    if len(cells) != layout.width:
        found = f"{len(cells)} columns parted by {PARTED[layout.separator]} ({quote(line)})"
        raise InputError(f"{where}: {found}; line {number_of_first} has {layout.width}")
    if not cells[layout.word] or not cells[layout.tag] or (layout.separator == " " and "\t" in line):
        raise InputError(f"{where}: an empty column, or tabs and spaces mixed ({quote(line)}); part all columns alike")
    return cells


def _namer(name: str, what: str, first: int = 1) -> Callable[[int], str]:
    return lambda index: f"{name}, {what} {first + index}"
