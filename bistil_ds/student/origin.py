"""The file `origin.json` beside a student's weights: licences of what it comes from, and its teacher's languages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bistil_ds.errors import InputError
from bistil_ds.models.licences import UNKNOWN, public_name
from bistil_ds.models.model_card import read_model_card
from bistil_ds.runs.files import read_json, write_whole
from bistil_ds.student.folder import ORIGIN, read_alignment

ADVICE = "correct it, or delete it"


@dataclass(frozen=True)
class Origin:
    """The models and data that a student is made from, and the languages of its teacher.

    Attributes:
        licences: name of a model or data set → its licence or `unknown`. Names look like `model org/name` and
            `data tr: tr.txt`.
        teacher_languages: codes of the languages that the teacher knows; empty if they are unknown.
    """

    licences: Mapping[str, str]
    teacher_languages: Sequence[str]


def write_origin(folder: Path, origin: Origin) -> None:
    """Write `origin.json` into an existing student folder."""
    content = {"licences": dict(origin.licences), "teacher_languages": list(origin.teacher_languages)}
    write_whole(folder / ORIGIN, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_origin(folder: Path) -> Origin | None:
    """Read a student's `origin.json`; None for a folder without one, such as a student of version 0.1.

    Raises:
        InputError: `origin.json` is broken.
    """
    path = folder / ORIGIN
    if not path.is_file():
        return None
    content = read_json(path, ADVICE, keys=("licences", "teacher_languages"))
    try:
        licences = {str(part): str(licence) for part, licence in content["licences"].items()}
        return Origin(licences, [str(code) for code in content["teacher_languages"]])
    except (TypeError, AttributeError):
        raise InputError(f"{path}: expected names with licences, and a list of languages; {ADVICE}") from None


def model_licences(model: str, licence: str | None = None) -> dict[str, str]:
    """Return name → licence for the parts listed in a model's `origin.json`, or for the model itself.

    Args:
        model: folder or hub id.
        licence: the model's licence, if the user states it; then the result holds only this licence. None reads the
            licences from `origin.json`, or from the model card if there is no such file.

    Raises:
        InputError: `origin.json` is broken.
    """
    if licence is None and (origin := read_origin(Path(model))):
        return dict(origin.licences)
    return {f"model {public_name(model)}": licence or read_model_card(model).licence or UNKNOWN}


def known_languages(model: str) -> tuple[str, ...]:
    """Return the language codes in a model's `distillation.json`, else those on its card; empty if neither has any.

    Raises:
        InputError: `distillation.json` is broken.
    """
    alignment = read_alignment(Path(model))
    return alignment.languages if alignment and alignment.languages else read_model_card(model).languages
