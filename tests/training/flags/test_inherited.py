"""Test that every flag of `TrainingArguments` is known, and that one without an effect is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import Any

import pytest
from transformers import TrainingArguments

from bistil_ds.distillation import checks as phase_1
from bistil_ds.distillation.arguments import DistillationArguments
from bistil_ds.errors import InputError
from bistil_ds.training.flags import inherited
from bistil_ds.training.flags.idle import default_of
from bistil_ds.training.flags.inherited import DECIDES, MAY_CHANGE, NO_EFFECT, by_name, check_effects, unknown_fields
from bistil_ds.tuning import checks as tuning
from bistil_ds.tuning.arguments import TaskTrainingArguments

NEWER = {"activation_checkpointing", "activation_checkpointing_kwargs"}  # fields that transformers 5.17 lacks
KINDS = {DistillationArguments: phase_1.NO_EFFECT, TaskTrainingArguments: tuning.NO_EFFECT}


@pytest.mark.parametrize("name", [one.name for one in fields(TrainingArguments) if one.init])
def test_every_field_stands_in_one_table(name: str) -> None:
    assert sum(name in by_name(table) for table in (NO_EFFECT, DECIDES, MAY_CHANGE)) == 1


def test_no_table_has_a_field_that_is_gone_or_a_field_twice() -> None:
    listed = Counter(name for table in (NO_EFFECT, DECIDES, MAY_CHANGE) for names in table.values() for name in names)
    assert set(listed) - NEWER <= {one.name for one in fields(TrainingArguments)}
    assert max(listed.values()) == 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_flag_without_effect_is_refused_by_name_with_the_reason(kind: type[TrainingArguments]) -> None:
    idle = {**by_name(NO_EFFECT), **KINDS[kind]}
    for name, reason in idle.items():
        with pytest.raises(InputError) as error:
            check_effects(kind, {name: "another value"}, KINDS[kind])
        assert str(error.value) == f"--{name} another value: has no effect: {reason}; leave it out"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_defaults_and_flags_with_an_effect_pass(kind: type[TrainingArguments]) -> None:
    plain: dict[str, Any] = {one.name: default_of(one) for one in fields(kind) if one.init}
    check_effects(kind, plain, KINDS[kind])
    working = {name for table in (DECIDES, MAY_CHANGE) for name in by_name(table)} - set(KINDS[kind])
    check_effects(kind, {**plain, **dict.fromkeys(working, "another value")}, KINDS[kind])


def test_a_flag_that_a_newer_transformers_adds_is_refused_not_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Newer(TrainingArguments):
        shard_dreams: int = 0

    monkeypatch.setattr(inherited, "TrainingArguments", Newer)
    assert unknown_fields() == ["shard_dreams"]
    check_effects(Newer, {"shard_dreams": 0}, {})
    with pytest.raises(InputError, match="--shard_dreams 2: has no effect: is new in this version of transformers"):
        check_effects(Newer, {"shard_dreams": 2}, {})
