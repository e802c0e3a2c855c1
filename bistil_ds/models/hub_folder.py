"""Find the local folder of a model or fine-tuning; fetch the files if the user names it by a hub id.

A hub id may name a revision, which is a branch, tag or commit: `org/name@v2`. Whatever exists on this machine is a
folder, even if its name contains an `@`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from bistil_ds.errors import InputError

HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
NEWEST = "main"  # the revision of a hub id that names none


def split_revision(source: str | Path) -> tuple[str, str]:
    """Return a folder or hub id without its revision, and the revision.

    >>> split_revision("org/name@v2")
    ('org/name', 'v2')
    """
    text = str(source)
    hub_id, _, revision = text.partition("@")
    if not revision or not HUB_ID.fullmatch(hub_id) or os.path.exists(text):
        return text, NEWEST
    return hub_id, revision


def fetch_file(source: str, file: str, kind: str = "model") -> Path:
    """Return the path of one file of the hub repository `source`, fetched if it is not cached; raise as the hub does.

    Args:
        kind: `model` or `dataset`.
    """
    hub_id, revision = split_revision(source)
    return Path(hf_hub_download(hub_id, file, revision=revision, repo_type=kind))


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
    hub_id, revision = split_revision(source)
    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=list(files)))
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = type(error).__name__
        raise InputError(
            f"no {what} at {source}: neither a folder here nor a hub id that can be fetched ({reason})"
        ) from error
