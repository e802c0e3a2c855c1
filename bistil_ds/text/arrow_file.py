"""Store data sets as Arrow files in the cache folder, so that each file is either whole or absent."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pyarrow as pa
from datasets import Dataset, Features
from datasets.table import MemoryMappedTable
from filelock import FileLock

from bistil_ds.runs.cache import cache_folder
from bistil_ds.runs.files import replace_when_written


def cached_dataset(key: str, features: Features, write: Callable[[], Iterable[pa.RecordBatch]]) -> Dataset:
    """Return the memory-mapped data set stored under `key`; if there is none, first write the batches of `write()`.

    One process writes while other processes on the machine wait. A killed writer leaves only a `.part` file, which is
    never read and which the next writer replaces. The data set's fingerprint is `key`.
    """
    folder = cache_folder("corpora")
    whole = folder / f"{key}.arrow"
    with FileLock(folder / f"{key}.lock"):
        if not whole.exists():
            with (
                replace_when_written(whole) as part,
                pa.OSFile(str(part), "wb") as file,
                pa.ipc.new_stream(file, features.arrow_schema) as writer,
            ):
                for batch in write():
                    writer.write_batch(batch)
    return Dataset(MemoryMappedTable.from_file(str(whole)), fingerprint=key)
