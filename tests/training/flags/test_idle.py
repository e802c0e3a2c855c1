"""Test that the table of the losses' flags is whole."""

from __future__ import annotations

from dataclasses import fields

import pytest

from bistil_ds.distillation.arguments import LossArguments
from bistil_ds.training.flags.idle import READ_BY
from bistil_ds.training.terms import terms_of
from bistil_ds.tuning.arguments import TaskLossArguments


@pytest.mark.parametrize(("kind", "phase"), [(LossArguments, 1), (TaskLossArguments, 2)])
def test_every_flag_beside_the_weights_says_which_losses_of_its_phase_read_it(kind: type, phase: int) -> None:
    losses = {term.name for term in terms_of(phase)}
    weights = {f"{name}_weight" for name in losses}
    for name in {one.name for one in fields(kind)} - weights - {"preset"}:
        assert losses & set(READ_BY[name]), name
