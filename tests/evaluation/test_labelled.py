"""Test test sets with labels: what is said of them before a model runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bistil_ds.errors import Notice
from bistil_ds.evaluation.labelled import read_labelled
from bistil_ds.tasks import ReadOptions, find_task

ASKED = {"id": "1", "question": "Who?", "context": "Ada did.", "answers": {"text": ["Ada"], "answer_start": [0]}}


def test_a_set_of_questions_whose_name_is_no_language_is_told(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text(json.dumps([ASKED]))
    with pytest.warns(Notice, match=r"^--test_file: my_data names no language, .* the rules of English"):
        read_labelled(
            find_task("qa"), str(tmp_path / "test.json"), ReadOptions("--test_file", language="my_data"), False
        )
