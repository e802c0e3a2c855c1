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


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"relation_layer": 3, "relation_weight": "1"}, "--relation_layer 3: the teacher has layers 0 to 2"),
        ({"relation_heads": 5, "relation_weight": "1"}, "--relation_heads 5: does not divide the width"),
        ({"relation_heads": 4}, "--relation_heads 4: has no effect without --relation_weight"),
        ({"relation_layer": 0}, "--relation_layer 0: has no effect without --relation_weight"),
    ],
)
def test_relations_that_the_teacher_cannot_give_are_refused(tmp_path: Path, flags, message: str) -> None:
    tiny_config("bert", num_hidden_layers=3).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=message):
        check_teacher(request_of(teacher_model=str(tmp_path), text={"aa": "a.txt"}, max_length=16, **flags))
