"""Read the texts of a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bistil_ds.errors import InputError
from bistil_ds.runs import bounded
from bistil_ds.text.options import TextOptions, choose_column, string_columns

ROWS = 1000  # rows of a batch; only one batch is in memory at a time


def parquet_texts(path: Path, options: TextOptions) -> Iterator[tuple[int, str]]:
    """Yield (row number from 1, text) for each row; the text of a row without one is "".

    Raises:
        InputError: the file cannot be read, no column holds its texts, or the texts are far larger than the file (see
            `bistil_ds.runs.bounded.unpacked_at_most`).
    """
    where = f"{options.flag}: {path}"
    number = 1
    try:
        with pq.ParquetFile(path) as file:
            column = _column(file, options, where)
        with pq.ParquetFile(path, read_dictionary=[column]) as file:  # a repeated text takes memory once
            number, left = 0, max(bounded.SMALL, bounded.LARGEST_EXPANSION * path.stat().st_size)
            for batch in file.iter_batches(ROWS, columns=[column]):
                for value in batch.column(0):
                    number += 1
                    text = value.as_py() or ""
                    left -= len(text)
                    if left < 0:
                        raise InputError(
                            f"{where}, row {number}: the texts so far are far larger than the file; write them as text"
                        )
                    yield number, text
    except UnicodeDecodeError:
        raise InputError(f"{where}, row {number} is not UTF-8; write it as text") from None
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{where} cannot be read as Parquet ({reason}); write or copy it again") from None


def _column(file: pq.ParquetFile, options: TextOptions, where: str) -> str:
    types = {field.name: field.type for field in file.schema_arrow}
    strings = string_columns(file.schema_arrow)
    row: dict[str, object] = dict.fromkeys(types)
    if options.column not in types and len(strings) == 1:
        first = next(file.iter_batches(1, columns=strings), None)
        row[strings[0]] = first.column(0)[0].as_py() if first else ""
    else:
        row |= dict.fromkeys(strings, "")
    column = choose_column(row, options, where)
    if column not in strings:
        raise InputError(f"{where}: column {column!r} holds {types[column]}, not text; {options.advice}")
    return column
