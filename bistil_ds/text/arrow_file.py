"""Store data sets as Arrow files in the cache folder; write an incomplete or damaged file again."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
from datasets import Dataset, Features
from datasets.table import MemoryMappedTable
from filelock import FileLock

from bistil_ds.errors import Notice
from bistil_ds.runs.cache import cache_folder, cache_root, writing_cache
from bistil_ds.runs.findings import recall, remember
from bistil_ds.runs.seals import damage, write_seal

CORPORA = "corpora"  # the cache's subfolder for these files
ARROW = "data.arrow"
WHOLE = "whole"  # what is remembered about a file that matched its seal


def cached_dataset(key: str, features: Features, write: Callable[[], Iterable[pa.RecordBatch]]) -> Dataset:
    """Return the memory-mapped data set stored under `key`; if there is none, first write the batches of `write()`.

    Each data set has a sealed folder (`bistil_ds.runs.seals`). A run checks the folder against its seal at the first
    use, and again after the file has changed (`bistil_ds.runs.findings`). If the check fails, a Notice names the file,
    and the data set is written again. One process writes while other processes on the machine wait. A killed writer
    leaves only a `.part` folder, which is never read and which the next writer replaces. The data set's fingerprint is
    `key`.

    Raises:
        InputError: the cache does not hold the data set whole, and cannot be written.
    """
    folder = cache_root() / CORPORA / key
    if not _is_whole(folder):
        cache = cache_folder(CORPORA)
        with writing_cache(cache), FileLock(cache / f"{key}.lock"):
            if not _is_whole(folder):  # another process may have written it while this one waited
                _write(folder, features, write)
    return Dataset(MemoryMappedTable.from_file(str(folder / ARROW)), fingerprint=key)


def _is_whole(folder: Path) -> bool:
    path = folder / ARROW
    if not path.is_file():
        return False
    if recall(WHOLE, path):
        return True
    if reason := damage(folder):
        warnings.warn(f"{reason}; this file of the cache is made again", Notice, stacklevel=3)
        return False
    remember(WHOLE, path, WHOLE)
    return True


def _write(folder: Path, features: Features, write: Callable[[], Iterable[pa.RecordBatch]]) -> None:
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        with (
            pa.OSFile(str(part / ARROW), "wb") as file,
            pa.ipc.new_stream(file, features.arrow_schema) as writer,
        ):
            for batch in write():
                writer.write_batch(batch)
        write_seal(part)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    folder.with_name(f"{folder.name}.arrow").unlink(missing_ok=True)  # where version 0.1 stored this data set
    remember(WHOLE, folder / ARROW, WHOLE)
