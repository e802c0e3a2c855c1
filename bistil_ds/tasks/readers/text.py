"""Read plain text, for masked language modelling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import Place, Text
from bistil_ds.tasks.readers.columns import check_names
from bistil_ds.tasks.readers.hub import hub_rows
from bistil_ds.tasks.readers.lines import at_least_one, quote
from bistil_ds.tasks.task import ReadOptions
from bistil_ds.text.corpus import located_texts
from bistil_ds.text.options import TextOptions
from bistil_ds.text.specification import HubDataset, parse_texts

COLUMN = "text"


def read_texts(source: str, options: ReadOptions) -> Iterator[Text]:
    """Stream the texts of a file in any form that phase 1 reads, of a folder of such files, or of a hub data set.

    Blank texts are left out.

    Raises:
        InputError: a file or a text cannot be read; the text of a row is no string; or there is no text at all.
    """
    message = f"{options.flag}: {source} holds no text (empty or blank lines only); give a file with text"
    yield from at_least_one(_texts(source, options), message)


def _texts(source: str, options: ReadOptions) -> Iterator[Text]:
    corpus, plain = parse_texts(source, TextOptions(options.flag, advice="name it with --columns text=NAME"))
    if isinstance(corpus, HubDataset):
        if named := corpus.column:
            corpus, options = replace(corpus, column=None), replace(options, columns={COLUMN: named})
        for place, where, record in hub_rows(corpus, options, {COLUMN: ()}):
            if not isinstance(record[COLUMN], str):
                raise InputError(f"{where}: text is {quote(record[COLUMN])}; expected a string")
            if record[COLUMN].strip():
                yield Text(record[COLUMN], place)
        return
    column = options.columns.get(COLUMN, COLUMN)
    check_names(options, (COLUMN,))
    for file, number, text in located_texts(corpus, replace(plain, column=column)):
        if text.strip():
            yield Text(text, Place(file, number))
