"""One made-up input: files, and what a reader is told beside them. It can be kept in a JSON file."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """An input of one family.

    Args:
        family: a key of `families.FAMILIES`.
        files: path inside the input's folder → content.
        about: further values, such as flags; anything that JSON can hold.
    """

    family: str
    files: dict[str, bytes]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Return what kind of input of its family it is."""
        return next((str(self.about[name]) for name in ("task", "kind", "command") if name in self.about), "")

    @property
    def size(self) -> int:
        """Return the bytes of all files and values."""
        return sum(map(len, self.files.values())) + len(json.dumps(self.about))

    def write(self, folder: Path) -> None:
        """Write the files into a folder."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def save(self, path: Path, **more: str) -> None:
        """Write the case as JSON, with further values for whoever reads the file."""
        files = {name: _text_of(content) for name, content in self.files.items()}
        content = {**more, "family": self.family, "about": self.about, "files": files}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")

    @classmethod
    def load(cls, path: Path) -> Case:
        """Read a case that `save` wrote."""
        content = json.loads(path.read_text(encoding="ascii"))
        files = {name: _bytes_of(stored) for name, stored in content["files"].items()}
        return cls(content["family"], files, content["about"])


def _text_of(content: bytes) -> dict[str, str]:
    """Return bytes as text if they are short and UTF-8, otherwise packed."""
    if len(content) < 10_000:
        try:
            return {"text": content.decode("utf-8")}
        except UnicodeDecodeError:
            pass
    return {"packed": base64.b85encode(zlib.compress(content, 9)).decode()}


def _bytes_of(stored: dict[str, str]) -> bytes:
    return stored["text"].encode() if "text" in stored else zlib.decompress(base64.b85decode(stored["packed"]))
