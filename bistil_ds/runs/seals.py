"""Seal a folder with a file that lists all others with sizes and SHA-256 hashes, signed with the user's key.

A seal is written last, so a folder that was not written to its end has none. A folder is compared with its seal before
anything in it is used, and an error names the file that differs. A seal that lists no file counts as no seal. Nothing
outside the folder is ever opened, because names in a seal are only compared with those in the folder, and links are
refused.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.runs.cache import file_hash
from bistil_ds.runs.files import part_of, read_json, write_whole
from bistil_ds.runs.seal_key import user_key

SEAL = "complete.json"
PURPOSE = b"bistil_ds seal, version 1\n"  # signed with each seal: a signature made for another purpose never fits
LEFT_BY_SYSTEMS = re.compile(r"\.DS_Store|\.nfs[0-9a-f]+")  # hidden files that no program of ours reads

Hash = Callable[[Path], str]  # a file's SHA-256, in hex


def write_seal(
    folder: Path,
    key: bytes | None = None,
    known: Mapping[str, Any] | None = None,
    left_out: Sequence[str] = (),
    **about: Any,
) -> None:
    """Write the seal of every other file in `folder`, replacing an earlier one.

    Args:
        folder: a folder without links.
        key: the key that signs the seal; None leaves it unsigned.
        known: entries of an earlier seal to take over; a file that changed since then will not match its entry.
        left_out: names of files and subfolders that the seal does not list.
        about: further values to sign; anything that JSON can hold.
    """
    known = known or {}
    listed = [(name, path) for name, path in _entries(folder) if name.split("/")[0] not in left_out]
    files = {name: known[name] if name in known else _entry(path) for name, path in listed}
    content: dict[str, Any] = {**about, "files": files}
    if key is not None:
        content["signature"] = _signature(content, key)
    write_whole(folder / SEAL, json.dumps(content, indent=1))


def read_seal(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's seal: `files`, `signature` if it is signed, and further values.

    Raises:
        InputError: there is no seal, or it is damaged, is a link, or lists no files.
    """
    if (folder / SEAL).is_symlink() or ((folder / SEAL).exists() and not (folder / SEAL).is_file()):
        raise InputError(f"{folder / SEAL}: is no plain file, so it vouches for nothing")
    content = read_json(folder / SEAL, "the folder was not written to its end", keys=("files",))
    files = content["files"]
    if not isinstance(files, dict) or not files or not all(map(_is_entry, files.values())):
        raise InputError(f"{folder / SEAL}: lists no files with their hashes, so it vouches for nothing")
    return content


def damage(folder: Path, ignored: tuple[str, ...] = (), hash_of: Hash = file_hash) -> str | None:
    """Return a line that says how a folder differs from its seal, and names the file; None if it does not differ.

    Args:
        ignored: names of files and subfolders that the seal need not list.
        hash_of: returns the SHA-256 of a file; default: one that reads the file.
    """
    try:
        files = read_seal(folder)["files"]
    except InputError as error:
        return str(error)
    present = dict(_entries(folder))
    for name, entry in files.items():
        path = present.pop(name, None)
        if path is None:
            return f"{folder / SEAL}: lists {name!r}, which is missing from the folder"
        if not path.is_file() or path.is_symlink():
            return f"{path}: is no plain file"
        try:
            if not _matches(path, entry, hash_of):
                return f"{path}: not the bytes that were written"
        except OSError as error:
            return f"{path}: cannot be read ({error.strerror})"
    for name, path in present.items():
        if name.split("/")[0] not in ignored:
            return f"{path}: not a file that was sealed; move it away"
    return None


def _entry(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": file_hash(path)}


def _matches(path: Path, entry: Any, hash_of: Hash) -> bool:
    size, sha256 = (entry["bytes"], entry["sha256"]) if isinstance(entry, dict) else (None, entry)
    return size in (None, path.stat().st_size) and hash_of(path) == sha256


def is_signed(folder: Path, key: bytes | None) -> bool:
    """Return whether this key signed the folder's seal, which must exist."""
    content = read_seal(folder)
    signature = content.pop("signature", None)
    if key is None or not isinstance(signature, str):
        return False
    return hmac.compare_digest(signature.encode(errors="replace"), _signature(content, key).encode())


@dataclass(frozen=True)
class Seals:
    """How a run seals its folders, and which seals it accepts. Use the methods on one rank only.

    Args:
        key_file: the file with the key, as in `--seal_key`; None: the usual file (`bistil_ds.runs.seal_key`).
        trust: whether to accept seals that the key did not sign.
    """

    key_file: str | None = None
    trust: bool = False

    def write(self, folder: Path, known: Mapping[str, Any] | None = None, **about: Any) -> None:
        """Seal a folder with this key; see `write_seal`.

        Raises:
            InputError: the key cannot be read.
        """
        write_seal(folder, user_key(self.key_file), known, **about)

    def check_key(self) -> None:
        """Raise InputError if the key cannot be read; warn if there is no place to keep a key."""
        user_key(self.key_file)

    def is_signed(self, folder: Path) -> bool:
        """Return whether this key signed a folder's seal, which must exist."""
        return is_signed(folder, user_key(self.key_file))

    def check_signed(self, folder: Path) -> None:
        """Raise InputError if this key did not sign a folder's seal, unless `trust` is set."""
        if not self.trust and not self.is_signed(folder):
            raise InputError(
                f"{folder / SEAL}: not signed with your key, so it is of another user, another key (--seal_key) or an "
                "earlier version; --trust_checkpoint uses it all the same: only where you know who wrote it, because "
                "a hostile one decides what you train and may try to run code"
            )

    def check(self, folder: Path, advice: str) -> None:
        """Check that a folder is as this user sealed it; with `trust`, its seal may be unsigned or missing.

        Args:
            advice: what the user can do if the check fails; messages end with it.

        Raises:
            InputError: the folder differs from its seal, or the seal is not accepted; the message names the file.
        """
        if not (folder / SEAL).exists():
            if self.trust:
                return
            advice += "; if version 0.1 wrote it, which sealed no such folder, and you trust it: --trust_checkpoint"
        if reason := damage(folder):
            raise InputError(f"{reason}; {advice}")
        self.check_signed(folder)


def _is_entry(entry: Any) -> bool:
    """Return whether `entry` has the form of a file's entry in a seal; in version 0.1, that was the hash alone."""
    if isinstance(entry, dict):
        return isinstance(entry.get("bytes"), int) and isinstance(entry.get("sha256"), str)
    return isinstance(entry, str)


def _entries(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (name with slashes, path) of all files and links below a folder.

    The seal itself is left out, and so are files that LEFT_BY_SYSTEMS matches.
    """
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        folders[:] = sorted(name for name in folders if name not in links)
        for name in sorted([*names, *links]):
            path = Path(place, name)
            if not LEFT_BY_SYSTEMS.fullmatch(name) and path not in (folder / SEAL, part_of(folder / SEAL)):
                yield path.relative_to(folder).as_posix(), path


def _signature(content: dict[str, Any], key: bytes) -> str:
    message = PURPOSE + json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(key, message, hashlib.sha256).hexdigest()
