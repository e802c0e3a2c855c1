"""Parse the name of a corpus that a user gives: a file, or a data set on the hub."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

FILE_SUFFIXES = (".txt", ".gz", ".jsonl", ".json", ".tsv", ".conllu", ".conll", ".iob2", ".bio")
HUB_ID = re.compile(r"(?P<id>\w[\w.-]*/\w[\w.-]*)(:(?P<config>[\w.-]*))?(:(?P<split>[\w.-]+))?")


@dataclass(frozen=True)
class HubDataset:
    """A data set on the Hugging Face hub."""

    id: str
    config: str | None
    split: str


def parse_specification(spec: str | Path) -> Path | HubDataset:
    """Return a path, or the hub data set `org/name[:config[:split]]`, whose split is `train` by default.

    `spec` is a path if that path exists, if it ends in one of `FILE_SUFFIXES`, or if it does not have the form of a hub
    data set.
    """
    path = Path(spec).expanduser()
    match = HUB_ID.fullmatch(str(spec))
    if os.path.exists(path) or match is None or path.suffix in FILE_SUFFIXES:
        return path
    return HubDataset(match["id"], match["config"] or None, match["split"] or "train")
