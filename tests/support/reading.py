"""Helpers for the tests of the readers: write a file, read it, or say how it was refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bistil_ds.errors import InputError
from bistil_ds.tasks import ReadOptions

Reader = Callable[[str, ReadOptions], Iterator[Any]]
FLAG = "--test_file"


def write(path: Path, content: str | bytes | dict[str, Any]) -> Path:
    """The path, holding the content; a dict is written as JSON."""
    if isinstance(content, dict):
        content = json.dumps(content, ensure_ascii=False)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read_all(reader: Reader, path: Path | str, **options: Any) -> list[Any]:
    """Every example."""
    return list(reader(str(path), ReadOptions(FLAG, **options)))


def refusal(reader: Reader, path: Path | str, **options: Any) -> str:
    """What the reader says when it refuses the file; one line that begins with the flag and names the file."""
    with pytest.raises(InputError) as caught:
        read_all(reader, path, **options)
    message = str(caught.value)
    assert message.startswith((f"{FLAG}: ", "--label_map ", "--columns "))
    assert not message.startswith(FLAG) or str(path) in message
    assert message.isprintable(), message
    return message
