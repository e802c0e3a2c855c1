"""Test the checks of phase 1 that need the teacher's configuration only."""

from __future__ import annotations

from pathlib import Path

import pytest
from student_models import tiny_config

from bistil_ds.distillation.checks import check_teacher
from bistil_ds.distillation.from_flags import request_of
from bistil_ds.distillation.request import DistillationRequest
from bistil_ds.errors import InputError


def test_an_attention_loss_is_refused_before_a_teacher_that_hides_its_attention_is_read(tmp_path: Path) -> None:
    tiny_config("deberta-v2").save_pretrained(tmp_path)

    def asked(**losses: str) -> DistillationRequest:
        texts = {"source_file": "a.txt", "target_file": "b.txt", "source_language": "aa", "target_language": "bb"}
        return request_of(teacher_model=str(tmp_path), max_length=16, **texts, **losses)

    with pytest.raises(InputError, match="--attention_weight 2: a deberta-v2 model does not show its attention"):
        check_teacher(asked(attention_weight="2"))
    for given in ({}, {"attention_weight": "0"}):
        assert check_teacher(asked(**given)).model_type == "deberta-v2"
