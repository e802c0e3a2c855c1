"""Test the file beside a student that says under which licences its parts are and what its teacher knew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bistil_ds.errors import InputError
from bistil_ds.student.folder import ORIGIN, write_alignment
from bistil_ds.student.origin import Origin, known_languages, model_licences, read_origin, write_origin

PARTS = {"model org/mmt": "mit", "data tr: tr.txt": "cc-by-nc-4.0"}


def write_card(folder: Path) -> Path:
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\nlanguage: [en, ha, sw]\n---\n")
    return folder


def test_an_origin_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_origin(tmp_path) is None
    write_origin(tmp_path, Origin(PARTS, ("en", "tr", "sw")))
    assert read_origin(tmp_path) == Origin(PARTS, ["en", "tr", "sw"])


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"licences": [], "teacher_languages": []}'])
def test_a_broken_origin_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / ORIGIN).write_text(content)
    with pytest.raises(InputError, match=r"origin\.json: .*; correct it, or delete it"):
        read_origin(tmp_path)


def test_the_parts_of_a_student_are_those_of_its_origin(tmp_path: Path) -> None:
    write_origin(tmp_path, Origin(PARTS, ()))
    assert model_licences(str(tmp_path)) == PARTS


def test_another_models_licence_is_the_users_else_its_cards(tmp_path: Path) -> None:
    mmt = write_card(tmp_path / "mmt")
    assert model_licences(str(mmt)) == {"model mmt": "mit"}
    assert model_licences(str(mmt), "cc-by-nc-4.0") == {"model mmt": "cc-by-nc-4.0"}
    (mmt / "README.md").unlink()
    assert model_licences(str(mmt)) == {"model mmt": "unknown"}


def test_a_student_knows_its_own_languages_and_another_model_those_of_its_card(tmp_path: Path) -> None:
    mmt = write_card(tmp_path / "mmt")
    assert known_languages(str(mmt)) == ("en", "ha", "sw")
    write_alignment(mmt, teacher="x", languages=["en", "ha"], layer_map=[1])
    assert known_languages(str(mmt)) == ("en", "ha")
    assert json.loads((mmt / "distillation.json").read_text())["layer_map"] == [1]
