"""Read plain text, for masked language modelling."""

from __future__ import annotations

from collections.abc import Iterator

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import Place, Text
from bistil_ds.tasks.readers.json_values import text_at
from bistil_ds.tasks.readers.lines import at_least_one, quote
from bistil_ds.tasks.readers.records import records
from bistil_ds.tasks.task import ReadOptions
from bistil_ds.text.specification import HubDataset, parse_specification
from bistil_ds.text.text_files import is_jsonl, numbered_lines


def read_texts(source: str, options: ReadOptions) -> Iterator[Text]:
    """Stream texts: the lines of a plain text file, or the column `text` of a JSONL file or hub data set.

    Blank texts are left out.

    Raises:
        InputError: the file cannot be read, is not UTF-8 or is broken JSONL; a record has no string as `text`; or there
            is no text at all.
    """
    message = f"{options.flag}: {source} holds no text (empty or blank lines only); give a file with text"
    yield from at_least_one(_texts(source, options), message)


def _texts(source: str, options: ReadOptions) -> Iterator[Text]:
    corpus = parse_specification(source)
    if isinstance(corpus, HubDataset) or is_jsonl(corpus):
        for place, where, record in records(source, options, {"text": ()}):
            if not isinstance(record["text"], str):
                raise InputError(f"{where}: text is {quote(record['text'])}; expected a string")
            if record["text"].strip():
                yield Text(text_at(record, "text", where), place)
        return
    for number, line in numbered_lines(corpus, options.flag):
        if line.strip():
            yield Text(line, Place(str(corpus), number))
