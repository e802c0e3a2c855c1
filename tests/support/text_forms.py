"""Write the same texts in the forms that users have them in."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TEXTS = [
    "The river flows, slowly, to the sea.",
    'A "town" lies on its bank; it is old.',
    "Kıyısında güçlü bir şehir var.",
]
FLAG = "--source_file"


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}


def lines(texts: list[str]) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def jsonl(texts: list[str]) -> bytes:
    return lines([json.dumps({"id": str(n), "url": "https://x/", "text": text}) for n, text in enumerate(texts)])


def table(texts: list[str], delimiter: str = ",") -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerows([["id", "url", "text"], *([n, "https://x/", text] for n, text in enumerate(texts))])
    return file.getvalue().encode()


def tabs(texts: list[str]) -> bytes:
    return lines(["id\ttext", *(f"{n}\t{text}" for n, text in enumerate(texts))])


def extracted(texts: list[str]) -> bytes:
    return lines(
        [
            f'<doc id="1" url="https://x/" title="T">\n{texts[0]}\n\n</doc>\n<doc id="2" url="" title="U">',
            *texts[1:],
            "</doc>",
        ]
    )


def parquet(texts: list[str]) -> bytes:
    file = io.BytesIO()
    pq.write_table(
        pa.table({"id": [str(n) for n in range(len(texts) + 1)], "text": [None, *texts]}), file, row_group_size=2
    )
    return file.getvalue()


def write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path
