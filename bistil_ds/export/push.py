"""Push an exported folder to a repository of the hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, constants, get_token

from bistil_ds.console.untrusted import one_line
from bistil_ds.errors import InputError
from bistil_ds.models.hub_folder import HUB_ID, NEWEST
from bistil_ds.runs.record import RECORD_FILE

FLAG = "--push_to_hub"
STAYS_HERE = (RECORD_FILE, ".*")  # the record names files of this machine


class PushError(RuntimeError):
    """Error for an exported folder that is whole, but that could not be pushed; the message is one line."""


def check_push(target: str | None, private: bool) -> None:
    """Raise InputError unless a push to `target`, `org/name` or `org/name@branch`, can be tried; None asks for none."""
    if target is None:
        if private:
            raise InputError(f"--private: says how to make a repository; name it with {FLAG}")
        return
    hub_id, _, branch = target.partition("@")
    if not HUB_ID.fullmatch(hub_id) or hub_id.count("/") != 1 or ("@" in target and not branch):
        raise InputError(f"{FLAG} {target}: expected org/name, or org/name@branch")
    if constants.HF_HUB_OFFLINE:
        raise InputError(f"{FLAG} {target}: HF_HUB_OFFLINE is set, so nothing is sent; unset it")
    if get_token() is None:
        raise InputError(f"{FLAG} {target}: no token of the hub; run `hf auth login`, or set HF_TOKEN")


def push_folder(folder: Path, target: str, private: bool) -> str:
    """Make a branch of a hub repository hold a folder's files and no others, and return the commit's address.

    The repository and the branch are made if they are missing. Files that the branch had before stay in its history.

    Args:
        target: `org/name`, or `org/name@branch`.
        private: whether a new repository is private; False leaves that to the organisation's setting.

    Raises:
        PushError: the hub cannot be reached, or refuses.
    """
    hub_id, _, branch = target.partition("@")
    api = HfApi()
    try:
        api.create_repo(hub_id, private=True if private else None, exist_ok=True)
        if branch:
            api.create_branch(hub_id, branch=branch, exist_ok=True)
        commit = api.upload_folder(
            repo_id=hub_id,
            folder_path=folder,
            revision=branch or NEWEST,
            commit_message="Export of bistil_ds",
            ignore_patterns=list(STAYS_HERE),
            delete_patterns="*",
        )
    except Exception as error:  # the hub and its HTTP client have no common error class
        reason = one_line(str(error))[:300] or type(error).__name__
        raise PushError(f"{FLAG} {target}: {reason}; {folder} holds the model") from None
    return str(commit.commit_url)
