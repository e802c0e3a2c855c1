"""Test that a resumed run keeps the rows of an optimiser step, and is told by which flags."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bistil_ds.errors import InputError
from bistil_ds.training.flags.step_size import StepSize


@pytest.mark.parametrize(("batch", "accumulation", "ranks"), [(8, 2, 1), (4, 2, 2), (16, 1, 1), (1, 8, 2)])
def test_another_division_of_the_same_rows_goes_on(batch: int, accumulation: int, ranks: int) -> None:
    StepSize(batch, accumulation, ranks).check_kept(16, "run")
    StepSize(batch, accumulation, ranks).check_kept(None, "run")  # of a version that recorded none


@pytest.mark.parametrize(
    ("size", "recorded", "advice"),
    [
        (StepSize(8, 1, 1), 16, "--gradient_accumulation_steps 2 keeps it"),
        (StepSize(8, 2, 2), 16, "--gradient_accumulation_steps 1 keeps it"),
        (StepSize(6, 2, 1), 16, "--per_device_train_batch_size 8 keeps it"),
        (StepSize(6, 2, 1), 15, "--per_device_train_batch_size 15 --gradient_accumulation_steps 1 keeps it"),
        (StepSize(8, 1, 3), 16, "take a number of ranks that divides 16"),
    ],
)
def test_other_rows_are_refused_with_flags_that_keep_them(size: StepSize, recorded: int, advice: str) -> None:
    given = f"--per_device_train_batch_size {size.batch} --gradient_accumulation_steps {size.accumulation}"
    said = f"{given}, ranks {size.ranks}: {size.rows} rows in a step, but {recorded} in run, .*; {advice}$"
    with pytest.raises(InputError, match=said):
        size.check_kept(recorded, "run")
    found = {"batch": size.batch, "accumulation": size.accumulation, "ranks": size.ranks}
    for flag, value in re.findall(r"--(\w+) (\d+)", advice):
        found["batch" if "batch" in flag else "accumulation"] = int(value)
    if "--" in advice:
        StepSize(**found).check_kept(recorded, "run")


@pytest.mark.parametrize("recorded", ["16", 0, True, [16]])
def test_a_record_that_is_no_number_of_rows_is_named(recorded: Any) -> None:
    with pytest.raises(InputError, match=r"run: rows_of_step is .*, expected a number of rows"):
        StepSize(8, 2, 1).check_kept(recorded, "run")
