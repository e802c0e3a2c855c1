"""The file `trimming.json` in a trimmed folder: what was trimmed, by which choice, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.runs.files import read_json, write_whole
from bistil_ds.trimming.agreement import Agreement
from bistil_ds.vocabulary.report import Segmentation, Size, TrimReport

FILE = "trimming.json"
ADVICE = "give a folder that trim.py wrote, or trim again"


@dataclass(frozen=True)
class TrimRecord:
    """Content of `trimming.json`.

    Attributes:
        model: hub id, or absolute path, of the model that was trimmed.
        weights_sha256: SHA-256 (hex) of its weights (see `hash_weights`).
        choice: the flags that decided which tokens stay.
        rows: rows of the trimmed embeddings; more than the kept ids where rows were padded.
        licence: licence of the trimmed model.
        report: sizes, and how sample texts of each language are cut, before and after.
        agreement: by language, how far hidden states before and after trimming agree.
    """

    model: str
    weights_sha256: str
    choice: str
    rows: int
    licence: str
    report: TrimReport
    agreement: Mapping[str, Agreement]

    @property
    def languages(self) -> list[str]:
        """Return the codes of the languages that the model was trimmed to."""
        return list(self.report.segmentations)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as nested dicts of plain values, for JSON."""
        return asdict(self)

    def write(self, folder: Path) -> None:
        """Write the file into an existing folder."""
        write_whole(folder / FILE, json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n")


def read_trim_record(folder: Path) -> TrimRecord:
    """Read the `trimming.json` of a folder.

    Raises:
        InputError: the file is missing or broken.
    """
    path = folder / FILE
    content = read_json(path, ADVICE, keys=tuple(TrimRecord.__dataclass_fields__))
    try:
        report = content["report"]
        segmentations = {str(code): Segmentation(**part) for code, part in report["segmentations"].items()}
        return TrimRecord(
            str(content["model"]),
            str(content["weights_sha256"]),
            str(content["choice"]),
            int(content["rows"]),
            str(content["licence"]),
            TrimReport(Size(**report["before"]), Size(**report["after"]), segmentations),
            {str(code): Agreement(**part) for code, part in content["agreement"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: is not what trim.py writes ({error}); {ADVICE}") from None
