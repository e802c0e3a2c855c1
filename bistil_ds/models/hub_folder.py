"""Find the local folder of a model or fine-tuning; fetch the files if the user names it by a hub id.

A hub id may name a revision, which is a branch, tag or commit: `org/name@v2`. Whatever exists on this machine is a
folder, even if its name contains an `@`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants, hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from bistil_ds.errors import InputError

HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
NEWEST = "main"  # the revision of a hub id that names none
ABSENT = (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError, HFValidationError)
# subclasses of the former: the file may be there, but the hub did not answer, or does not let this user in
UNANSWERED = (LocalEntryNotFoundError, GatedRepoError)


class HubSilentError(Exception):
    """Error: neither the hub nor its cache on this machine says whether a repository has a file."""


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


def find_file(source: str, file: str) -> Path | None:
    """Return the path of one file of the hub repository `source`, fetched if it is not cached; None if it has no such.

    None also if there is no such repository, or if the client is offline and has not even cached a configuration:
    loading the model fails then, and says why.

    Raises:
        HubSilentError: whether the repository has the file cannot be found out; the message is the cause's class.
    """
    try:
        return fetch_file(source, file)
    except Exception as error:  # the hub and its client have no common error class
        if isinstance(error, ABSENT) and not isinstance(error, UNANSWERED):
            return None
        hub_id, revision = split_revision(source)
        known, config = (try_to_load_from_cache(hub_id, name, revision=revision) for name in (file, "config.json"))
        marked_absent = not isinstance(known, str | None)  # by an object for which the client has no public name
        if marked_absent or (constants.HF_HUB_OFFLINE and not isinstance(config, str)):
            return None
        raise HubSilentError(type(error).__name__) from error


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
