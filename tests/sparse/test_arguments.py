"""Test that settings of sparse training that cannot be used are named."""

from __future__ import annotations

from typing import Any

import pytest

from bistil_ds.errors import InputError
from bistil_ds.sparse import SparseArguments


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"density": 0.0}, "--density 0: expected a number above 0"),
        ({"density": 1.01}, "--density 1.01: expected"),
        ({"density": float("nan")}, "--density nan: expected"),
        ({"k": 0}, "--k 0: expected 1 to 100,"),
        ({"k": 101}, "--k 101: expected 1 to 100,"),
        ({"k": 3, "iterations": 4}, "--iterations 4: expected 1 to 3"),
        ({"full_l1": -1.0}, "--full_l1 -1.0: expected a number of at least 0"),
        ({"sparse_epochs": 0.0}, "--sparse_epochs 0.0: expected a number above 0"),
        ({"sparse_max_steps": 0, "dense": True}, "--sparse_max_steps 0: expected a number above 0"),
        ({"sparse_epochs": -1.0, "dense": True}, "--sparse_epochs -1.0: expected a number above 0"),
        ({"selection": "random", "iterations": 3}, "--iterations 3: --selection random draws all entries at once"),
        ({"selection": "magnitude"}, "--selection magnitude: expected lottery or random"),
    ],
)
def test_what_cannot_be_used_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message.replace(".", r"\.")) as error:
        SparseArguments(**given).check(100)
    assert "\n" not in str(error.value)


def test_l1_in_the_full_stage_needs_whole_weights_and_no_loss_scale() -> None:
    SparseArguments(full_l1=0.1).check(100, zero_stage=2)
    with pytest.raises(InputError, match="cannot be used at ZeRO-3"):
        SparseArguments(full_l1=0.1).check(100, zero_stage=3)
    with pytest.raises(InputError, match="cannot be used with --fp16"):
        SparseArguments(sparse_l1=0.1).check(100, fp16=True)
