"""Arrow files below the cache folder that are either whole or absent."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pyarrow as pa
from datasets import Dataset, Features
from datasets.table import MemoryMappedTable
from filelock import FileLock

from bistil_ds.runs.cache import cache_folder


def cached_dataset(key: str, features: Features, write: Callable[[], Iterable[pa.RecordBatch]]) -> Dataset:
    """The memory-mapped data set stored under `key`, written from `write()` first when it is not there.

    One process writes and the others of the machine wait for it. A killed writer leaves only a `.partial` file, which
    is never read and which the next writer replaces. The fingerprint is `key`.
    """
    folder = cache_folder("corpora")
    whole, partial = folder / f"{key}.arrow", folder / f"{key}.partial"
    with FileLock(folder / f"{key}.lock"):
        if not whole.exists():
            with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_stream(file, features.arrow_schema) as writer:
                for batch in write():
                    writer.write_batch(batch)
            partial.replace(whole)
    return Dataset(MemoryMappedTable.from_file(str(whole)), fingerprint=key)
