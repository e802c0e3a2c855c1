"""Store data sets as Arrow files in the cache folder, so that each file is either whole or absent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
from datasets import Dataset, Features
from datasets.table import MemoryMappedTable
from filelock import FileLock

from bistil_ds.runs.cache import cache_folder, cache_root, writing_cache
from bistil_ds.runs.files import replace_when_written

CORPORA = "corpora"  # the folder, in the cache, of these files


def cached_dataset(key: str, features: Features, write: Callable[[], Iterable[pa.RecordBatch]]) -> Dataset:
    """Return the memory-mapped data set stored under `key`; if there is none, first write the batches of `write()`.

    One process writes while other processes on the machine wait. A killed writer leaves only a `.part` file, which is
    never read and which the next writer replaces. The data set's fingerprint is `key`.

    Raises:
        InputError: the cache cannot be written; what it already holds is read all the same.
    """
    whole = cache_root() / CORPORA / f"{key}.arrow"
    if not whole.exists():
        _write(whole, features, write)
    return Dataset(MemoryMappedTable.from_file(str(whole)), fingerprint=key)


def _write(whole: Path, features: Features, write: Callable[[], Iterable[pa.RecordBatch]]) -> None:
    folder = cache_folder(CORPORA)
    with writing_cache(folder), FileLock(folder / f"{whole.stem}.lock"):
        if whole.exists():  # another process was faster
            return
        with (
            replace_when_written(whole) as part,
            pa.OSFile(str(part), "wb") as file,
            pa.ipc.new_stream(file, features.arrow_schema) as writer,
        ):
            for batch in write():
                writer.write_batch(batch)
