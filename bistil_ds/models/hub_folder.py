"""A folder on this machine for what the user named: the folder itself, or a hub repository's files, fetched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from bistil_ds.errors import InputError


def local_folder(source: str | Path, what: str, files: Sequence[str]) -> Path:
    """Where `files` (names or patterns, of those that are there) of `source` are.

    Args:
        what: what is looked for, for the message.

    Raises:
        InputError: neither a folder nor a hub id that can be fetched.
    """
    if (path := Path(source)).is_dir():
        return path
    try:
        return Path(snapshot_download(str(source), allow_patterns=list(files)))
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = type(error).__name__
        raise InputError(
            f"no {what} at {source}: neither a folder here nor a hub id that can be fetched ({reason})"
        ) from error
