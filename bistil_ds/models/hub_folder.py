"""Find the local folder of a model or fine-tuning; fetch the files if the user names it by a hub id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from bistil_ds.errors import InputError


def local_folder(source: str | Path, what: str, files: Sequence[str]) -> Path:
    """Return `source` if it is a folder; otherwise fetch files of the hub repository `source` and return their folder.

    Args:
        what: what the folder should hold, in a word or two ("model"), for messages.
        files: names or patterns of the files to fetch; files that the repository lacks are left out.

    Raises:
        InputError: `source` is neither a folder nor a hub id that can be fetched.
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
