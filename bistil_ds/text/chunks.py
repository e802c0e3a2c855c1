"""Join the chunks of all languages in one data set, and collate its rows into batches.

Shapes: B rows, T tokens of the longest row.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import datasets
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

COLUMNS = ("input_ids", "attention_mask")
ROWS_AT_ONCE = 1000


class MultilingualChunks(Dataset[dict[str, Any]]):
    """Data set of the chunks of one language or more, one after another; the languages are numbered from 0.

    A row has `input_ids`, `language`, and `attention_mask` if its data set has masks.

    Args:
        parts: the chunks of each language: a `datasets.Dataset`, from which a batch is read at a time, or any map-style
            data set of rows.
    """

    def __init__(self, parts: Iterable[Any]) -> None:
        self.parts = [_as_arrays(part) for part in parts]
        self._ends = list(accumulate(map(len, self.parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return the rows at `indices`, in that order.

        Raises:
            ValueError: the rows are of several languages.
        """
        languages = {bisect_right(self._ends, index) for index in indices}
        if len(languages) > 1:
            raise ValueError("a batch is of one language")
        language = languages.pop()
        part = self.parts[language]
        own = [int(index) - (self._ends[language] - len(part)) for index in indices]
        if isinstance(part, datasets.Dataset):
            columns = part[own]
            rows = [dict(zip(columns, values)) for values in zip(*columns.values())]
        else:
            rows = [{name: part[i][name] for name in COLUMNS if name in part[i]} for i in own]
        return [{**row, "language": language} for row in rows]


def _as_arrays(chunks: Any) -> Any:
    if isinstance(chunks, datasets.Dataset):
        return chunks.with_format("numpy", columns=[name for name in COLUMNS if name in chunks.column_names])
    return chunks


def longest_row(parts: Iterable[Any]) -> tuple[int, bool]:
    """Return the length of the longest row of several data sets, and whether a batch of their rows may need a mask.

    Args:
        parts: data sets, as `MultilingualChunks` takes them.
    """
    lengths, has_masks = set[int](), False
    for part in parts:
        if isinstance(part, datasets.Dataset):
            has_masks |= "attention_mask" in part.column_names
            lengths |= _lengths(part)
        else:
            rows = [part[i] for i in range(len(part))]
            has_masks |= any("attention_mask" in row for row in rows)
            lengths |= {len(row["input_ids"]) for row in rows}
    return max(lengths), has_masks or len(lengths) > 1


def _lengths(part: datasets.Dataset) -> set[int]:
    if (fixed := getattr(part.features["input_ids"], "length", -1)) > 0:  # packed: no row need be read
        return {fixed}
    tables = part.select_columns("input_ids").with_format("arrow").iter(ROWS_AT_ONCE)
    return {length for table in tables for length in pc.list_value_length(table["input_ids"]).unique().to_pylist()}


def collate_chunks(rows: Sequence[Mapping[str, Any]], *, pad_token_id: int) -> dict[str, Any]:
    """Collate rows into a batch, padded on the right to the longest row.

    Returns:
        `input_ids`: int64 [B, T].
        `attention_mask`: int64 [B, T], 0 on padding. It is left out if attention needs none: no row has a mask and all
            rows are equally long, like packed chunks.
        `language`: int, if the rows have one.

    Raises:
        ValueError: the rows are of several languages.
    """
    ids = [_tensor(row["input_ids"]) for row in rows]
    batch: dict[str, Any] = {"input_ids": pad_sequence(ids, batch_first=True, padding_value=pad_token_id)}
    if any("attention_mask" in row for row in rows) or len({len(one) for one in ids}) > 1:
        masks = [_tensor(row.get("attention_mask", torch.ones_like(one))) for row, one in zip(rows, ids)]
        batch["attention_mask"] = pad_sequence(masks, batch_first=True)
    languages = {row["language"] for row in rows if "language" in row}
    if len(languages) > 1:
        raise ValueError("a batch is of one language")
    if languages:
        batch["language"] = languages.pop()
    return batch


def _tensor(ids: Any) -> Tensor:
    return torch.as_tensor(ids, dtype=torch.int64)
