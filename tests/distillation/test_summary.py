"""Test the tables that phase 1 prints at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bistil_ds.distillation.summary import print_student_summary


@pytest.mark.parametrize("before", [{"eval_aa_loss": 7.25}, None], ids=["validated before training", "not"])
def test_the_validation_of_what_is_kept_is_shown_with_or_without_one_before(
    before: dict[str, float] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    results = {"teacher_bytes": 8, "student_bytes": 4, "validation_before": before}
    record: dict[str, Any] = {
        "arguments": {"text": {"aa": "a.txt"}},
        "results": {**results, "validation_best": {"eval_aa_loss": 3.5}},
    }
    print_student_summary(record, Path("run"))
    out = capsys.readouterr().out
    assert "3.5" in out
    assert ("7.25" in out) == bool(before)
