"""The plan of a measurement: which models, on what input, and what each is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from bistil_ds.benchmarking.harness.samples import FEWEST_ROUNDS
from bistil_ds.benchmarking.models.shapes import label_of, reference_of
from bistil_ds.benchmarking.models.subject import InputCase

AGAIN = " (again)"  # the control: one model runs twice, and how far that ratio is from 1 is the noise of the run


@dataclass
class MeasurementPlan:
    """What to measure.

    Attributes:
        models: names of ours, folders or hub ids.
        settings: (engine, dtype) pairs.
        cases: inputs and threads.
        seconds: of latency, the time for everything together, starting the models included; each case gets its share of
            what is left. Of energy, the time of one window.
        fewest_rounds: rounds that are measured even where the time does not suffice.
        text: batches of sentences instead of random tokens; cases then have no length.
        max_length: tokens that a sentence is cut at.
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
        """Return label → name of everything that runs: each model, and the control."""
        found = {label_of(name): name for name in self.models}
        control = self.models[min(1, len(self.models) - 1)]
        return {**found, label_of(control) + AGAIN: control}

    def reference(self, label: str) -> str:
        """Return the label of the model that `label` is compared with; for the control, of the same model."""
        if label.endswith(AGAIN):
            return label.removesuffix(AGAIN)
        return label_of(reference_of(self.names()[label], self.models))
