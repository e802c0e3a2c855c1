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
        text: batches of sentences instead of random tokens; cases then have no length.
        max_length: longer sentences of `text` are cut to this many tokens.
        seed: decides the order in which models take turns.
    """

    models: Sequence[str]
    settings: Sequence[tuple[str, str]]
    cases: Sequence[InputCase]
    device: torch.device
    seconds: float
    fewest_rounds: int = FEWEST_ROUNDS
    text: Sequence[Sequence[str]] = field(default_factory=list)
    max_length: int = 128
    seed: int = 0

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
