"""Helpers of the readers' tests: write a file, read it, or return the message that refuses it."""

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
    """Write the content, a dict as JSON, and return the path."""
    if isinstance(content, dict):
        content = json.dumps(content, ensure_ascii=False)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read_all(reader: Reader, path: Path | str, **options: Any) -> list[Any]:
    """Return every example."""
    return list(reader(str(path), ReadOptions(FLAG, **options)))


def values_of(example: Any) -> tuple[Any, ...]:
    """Return what an example says, without its place and the model's names of its tags."""
    return tuple(getattr(example, slot) for slot in example.__slots__ if slot not in ("place", "meanings"))


def refusal(reader: Reader, path: Path | str, **options: Any) -> str:
    """Check that the reader refuses the file in one line that names flag and file; return that line."""
    with pytest.raises(InputError) as caught:
        read_all(reader, path, **options)
    message = str(caught.value)
    assert message.startswith((f"{FLAG}: ", "--label_map ", "--columns "))
    assert not message.startswith(FLAG) or str(path) in message
    assert message.isprintable(), message
    return message
