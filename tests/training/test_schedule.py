"""Test loss weights: a number, or a line from one number to another."""

from __future__ import annotations

import pytest

from bistil_ds.errors import InputError
from bistil_ds.training.schedule import Weight


@pytest.mark.parametrize("text", ["0.5", 0.5])
def test_a_number_stays(text: str | float) -> None:
    weight = Weight.parse(text)
    assert [weight.at(progress) for progress in (0, 0.3, 1)] == [0.5, 0.5, 0.5]


def test_a_range_goes_linearly_and_stays_within_the_run() -> None:
    weight = Weight.parse("1:0")
    assert [weight.at(progress) for progress in (-1, 0, 0.25, 1, 2)] == [1, 1, 0.75, 0, 0]


@pytest.mark.parametrize(("text", "used"), [("0", False), ("0:0", False), ("0:1", True), ("1:0", True), ("2", True)])
def test_a_weight_is_used_unless_it_is_always_0(text: str, used: bool) -> None:
    assert Weight.parse(text).used is used


@pytest.mark.parametrize("text", ["", "a", "-1", "1:-1", "nan", "inf", "1:2:3", "1:"])
def test_anything_else_names_the_flag(text: str) -> None:
    with pytest.raises(InputError, match=f"--mlm_weight {text}: expected a number"):
        Weight.parse(text, "mlm_weight")
