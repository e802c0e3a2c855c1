"""Plan a measurement: the models, their input, and the model that each is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from bistil_ds.benchmarking.harness.samples import FEWEST_ROUNDS
from bistil_ds.benchmarking.models.shapes import label_of, reference_of
from bistil_ds.benchmarking.models.subject import InputCase

AGAIN = " (again)"  # end of the label of the control: one model in a second process, which shows the noise


@dataclass
class MeasurementPlan:
    """What to measure.

    Attributes:
        models: names of ours, folders or hub ids.
        settings: tuples of engine and dtype; energy uses the first only.
        cases: inputs and threads; energy has one.
        seconds: for latency, time of the whole run including the models' starts; for energy, time of one window.
        fewest_rounds: for latency, how many rounds are measured even if they take longer than `seconds`.
        text: sentences instead of random tokens; cases then have no length.
        max_length: longer sentences of `text` are cut to this many tokens.
        seed: decides the order in which models take turns.
        side_by_side: whether all settings run at once and take turns in the same rounds, so that times of different
            engines can be compared; else one setting runs after the other.
    """

    models: Sequence[str]
    settings: Sequence[tuple[str, str]]
    cases: Sequence[InputCase]
    device: torch.device
    seconds: float
    fewest_rounds: int = FEWEST_ROUNDS
    text: Sequence[str] = field(default_factory=list)
    max_length: int = 128
    seed: int = 0
    side_by_side: bool = False

    def groups(self) -> list[list[tuple[str, str]]]:
        """Return the settings in groups; those of a group run at once and take turns in the same rounds."""
        return [list(self.settings)] if self.side_by_side else [[setting] for setting in self.settings]

    def text_batches(self, case: InputCase) -> list[Sequence[str]]:
        """Return `text` in batches of the case's size, without what is left over."""
        whole = len(self.text) // case.batch * case.batch
        return [self.text[start : start + case.batch] for start in range(0, whole, case.batch)]

    def names(self) -> dict[str, str]:
        """Return label → name of each model that runs. The second (or only) one runs once more, as the control."""
        found = {label_of(name): name for name in self.models}
        control = self.models[min(1, len(self.models) - 1)]
        return {**found, label_of(control) + AGAIN: control}

    def reference(self, label: str) -> str:
        """Return the label of the model that `label` is compared with; the control is compared with its own model."""
        if label.endswith(AGAIN):
            return label.removesuffix(AGAIN)
        return label_of(reference_of(self.names()[label], self.models))
