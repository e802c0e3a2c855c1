"""Open a file to read its bytes; decompress it if its first bytes or its name say that it is compressed."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from bistil_ds.errors import InputError
from bistil_ds.runs.bounded import unpacked_at_most

MAGIC_BYTES = 10  # bytes at a file's beginning that the longest pattern in `COMPRESSIONS` needs


@dataclass(frozen=True)
class Compression:
    """One way to compress a file.

    Args:
        name: what messages call it.
        suffix: how the names of such files end.
        magic: matches the first bytes of such files.
        open: opens a file to read its decompressed bytes; memory stays bounded.
    """

    name: str
    suffix: str
    magic: re.Pattern[bytes]
    open: Callable[[Path], Any]


def _open_zstandard(path: Path) -> Any:
    if not pa.Codec.is_available("zstd"):
        raise InputError(f"{path}: this build of pyarrow reads no Zstandard; install another: pip install pyarrow")
    return pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd")


COMPRESSIONS = (
    Compression("gzip", ".gz", re.compile(rb"\x1f\x8b"), gzip.open),
    Compression("bzip2", ".bz2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.open),
    Compression("xz", ".xz", re.compile(rb"\xfd7zXZ\0"), lzma.open),
    Compression("Zstandard", ".zst", re.compile(rb"\x28\xb5\x2f\xfd"), _open_zstandard),
)
SUFFIXES = tuple(each.suffix for each in COMPRESSIONS)


def compression_of(path: Path) -> Compression | None:
    """Return how the file is compressed; None if it is not.

    Its first bytes decide or, if they match no compression, the ending of its name. So a file that is called `.gz` but
    is not gzip counts as a broken gzip file. An empty file is not compressed.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        first = file.read(MAGIC_BYTES)
    by_content = (each for each in COMPRESSIONS if each.magic.match(first))
    by_name = (each for each in COMPRESSIONS if first and path.suffix.lower() == each.suffix)
    return next(by_content, None) or next(by_name, None)


@contextmanager
def opened(path: Path, flag: str) -> Iterator[IO[bytes]]:
    """Open a file to read bytes; decompress gzip, bzip2, xz and Zstandard, whatever the file is called.

    Raises:
        InputError: the file is missing, a folder, a pipe or a device; cannot be read or decompressed; or decompresses
            to far more bytes than text does (see `bistil_ds.runs.bounded.unpacked_at_most`).
    """
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise InputError(f"{flag}: {path} is a pipe or device, which cannot be read twice; save its text to a file")
    compression = None
    try:
        compression = compression_of(path)
        with compression.open(path) if compression else open(path, "rb") as file:
            size = os.path.getsize(path)
            yield unpacked_at_most(file, size, f"{flag}: {path}") if compression else file
    except FileNotFoundError:
        raise InputError(f"{flag}: there is no file {path}; give a text file or a hub data set org/name") from None
    except IsADirectoryError:
        raise InputError(f"{flag}: {path} is a folder; give the text file itself") from None
    except (EOFError, zlib.error, lzma.LZMAError, OSError, MemoryError) as error:
        if isinstance(error, OSError) and error.strerror and not isinstance(error, gzip.BadGzipFile):
            raise unreadable(path, flag, error) from None
        expected = f"a whole {compression.name} file" if compression else "readable"
        raise InputError(f"{flag}: {path} is not {expected} ({error}); compress or copy it again") from None


def unreadable(path: Path, flag: str, error: OSError) -> InputError:
    """Return the error for a file or folder that the system does not let us read."""
    return InputError(f"{flag}: {path} cannot be read ({error.strerror}); check it and its rights")
