"""Test the checks of phase 1 that need the flags, and the teacher's configuration at most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    ],
)
def test_relations_that_the_teacher_cannot_give_are_refused(tmp_path: Path, flags, message: str) -> None:
    tiny_config("bert", num_hidden_layers=3).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=message):
        check_teacher(request_of(teacher_model=str(tmp_path), text={"aa": "a.txt"}, max_length=16, **flags))


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"temperature": 4.0}, "--logit_weight is 0"),
        ({"mask_probability": 0.3}, "--logit_weight and --mlm_weight are 0"),
        ({"hidden_loss": "cosine", "hidden_weight": "0"}, "--hidden_weight is 0"),
        ({"attention_loss": "kl", "attention_weight": "0"}, "--attention_weight is 0"),
        ({"align_layers": "last", "preset": "minilmv2"}, "--hidden_weight and --attention_weight are 0"),
        ({"relation_heads": 4}, "--relation_weight is 0"),
        ({"relation_layer": 0}, "--relation_weight is 0"),
        ({"language_temperature": 3.0}, "there is one language"),
    ],
)
def test_a_flag_without_effect_beside_the_others_is_refused_unless_a_run_is_resumed(
    flags: dict[str, Any], reason: str
) -> None:
    base: dict[str, Any] = {"teacher_model": "x", "text": {"aa": "a.txt"}}
    name, value = next(iter(flags.items()))
    with pytest.raises(InputError, match=f"^--{name} {value}: has no effect: {reason}; leave it out$"):
        request_of(**base, **flags)
    request_of(**base, **flags, resume_from_checkpoint="true")


@pytest.mark.parametrize(
    "flags",
    [
        {"hidden_loss": "mse", "hidden_weight": "0"},
        {"preset": "distilmbert", "hidden_weight": "0"},
        {"preset": "minilmv2", "relation_heads": 4},
        {"temperature": 4.0, "logit_weight": "0:1"},
        {"mask_probability": 0.3, "mlm_weight": "1"},
        {"text": {"aa": "a.txt", "bb": "b.txt"}, "language_temperature": 3.0},
    ],
)
def test_a_default_a_preset_and_a_flag_with_an_effect_pass(flags: dict[str, Any]) -> None:
    request_of(**{"teacher_model": "x", "text": {"aa": "a.txt"}, **flags})
