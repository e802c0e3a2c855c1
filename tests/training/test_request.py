"""Test that flags given from Python get the types and the checks that the command line gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bistil_ds.distillation.from_flags import FLAGS
from bistil_ds.errors import InputError
from bistil_ds.runs.folder import leftovers
from bistil_ds.training.request import with_defaults


def test_values_get_the_types_of_the_command_line() -> None:
    given = {"resume_from_checkpoint": True, "mlm_weight": 0.1, "data_licence": "mit", "teacher_model": Path("mmt")}
    flags = with_defaults(FLAGS, given)
    assert flags["resume_from_checkpoint"] == "True"
    assert (flags["mlm_weight"], flags["data_licence"], flags["teacher_model"]) == ("0.1", ["mit"], "mmt")
    assert with_defaults(FLAGS, {"resume_from_checkpoint": False})["resume_from_checkpoint"] is None


def test_a_choice_that_the_parser_would_refuse_is_refused() -> None:
    with pytest.raises(InputError, match="--align_layers first: expected one of all, last"):
        with_defaults(FLAGS, {"align_layers": "first"})
    with pytest.raises(InputError, match="no flag is called 'max_step'"):
        with_defaults(FLAGS, {"max_step": 3})


def test_models_without_a_record_are_what_a_killed_preparation_left(tmp_path: Path) -> None:
    (tmp_path / "build" / "student").mkdir(parents=True)
    assert leftovers(tmp_path) == []  # a folder of the user's own
    (tmp_path / "build" / "student" / "config.json").write_text("{}")
    assert leftovers(tmp_path) == [tmp_path / "build"]
    (tmp_path / "run.json").write_text("{}")
    assert leftovers(tmp_path) == []
