"""Measure a step of sparse training and one of dense fine-tuning: time, memory, optimizer state, gradient bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig, BertForTokenClassification

from bistil_ds.benchmarking.harness.benchmark import Content, Tell, Values
from bistil_ds.benchmarking.harness.peak_memory import MiB, peak_in_own_process
from bistil_ds.benchmarking.harness.samples import ratio
from bistil_ds.benchmarking.harness.timing import Way, time_in_turns
from bistil_ds.benchmarking.models.rows import ratio_text
from bistil_ds.console.grid import Grid
from bistil_ds.sparse import attach, maskable_count, random_entries
from bistil_ds.sparse.maskable import entries_to_train

DENSE = "dense"
MEMORY_STEPS = 3


@dataclass(frozen=True)
class StudentShape:
    """Sizes of a student and its batch; by default mBERT's width, half its layers, and a trimmed vocabulary."""

    batch: int = 8
    length: int = 128
    layers: int = 6
    width: int = 768
    heads: int = 12
    vocabulary: int = 34_414


class TrainingStep:
    """A tagger with random weights, its optimizer and one batch; calling the object runs one training step.

    Args:
        density: share of the base model's entries, without layer norms, that train beside the head; None trains all.
            These entries are drawn at random, because the cost of a step depends on their number only.
    """

    def __init__(self, shape: StudentShape, density: float | None, device: str) -> None:
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=4 * shape.width,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            num_labels=9,
        )
        self.model = BertForTokenClassification(config).to(device).train()
        self.deltas = None
        if density is not None:
            k = entries_to_train(density, None, maskable_count(self.model))
            self.deltas = attach(self.model, random_entries(self.model, k, seed=0))
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, 5e-5, weight_decay=0.0)
        ids_BT = torch.randint(shape.vocabulary, (shape.batch, shape.length), device=device)
        self.inputs: dict[str, Tensor] = {"input_ids": ids_BT, "labels": ids_BT % 9}

    def __call__(self) -> None:
        """Run forward, backward, clipping and update; in sparse training, also write the deltas into the weights."""
        self.optimizer.zero_grad()
        self.model(**self.inputs).loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        if self.deltas is not None:
            self.deltas.write()

    def state_bytes(self) -> int:
        """Return the bytes of the optimizer's moments, which exist after the first step."""
        states = self.optimizer.state.values()
        return sum(state[name].nbytes for state in states for name in ("exp_avg", "exp_avg_sq"))

    def gradient_bytes(self) -> int:
        """Return the bytes of all gradients, which data-parallel ranks all-reduce once a step."""
        return sum(p.grad.nbytes for p in self.trained if p.grad is not None)


def measure(
    shape: StudentShape, densities: Sequence[float], rounds: int, device: torch.device, rows: list[Any], tell: Tell
) -> None:
    """Add a row to `rows` for dense training and for each density; ratios are to the dense step of the same round."""
    ways: dict[str, float | None] = {DENSE: None, **{f"{density:g}": density for density in densities}}
    steps = {name: TrainingStep(shape, density, str(device)) for name, density in ways.items()}
    total, done = (rounds + 1) * len(ways) + 2 * len(ways), 0

    def advance() -> None:
        nonlocal done
        done += 1
        tell(done / total, "steps")

    seconds = time_in_turns({name: Way(step) for name, step in steps.items()}, rounds, device, advance)
    counted = {
        name: {
            "trained": sum(p.numel() for p in step.trained),
            "state_bytes": step.state_bytes(),
            "reduced_bytes": step.gradient_bytes(),
        }
        for name, step in steps.items()
    }
    del steps
    for name, density in ways.items():
        peak = peak_in_own_process(TrainingStep, shape, density, str(device), steps=MEMORY_STEPS, device=str(device))
        tell((done := done + 2) / total, "memory")
        rows.append(
            {
                "way": name,
                "seconds": seconds[name],
                **vars(ratio([[s] for s in seconds[name]], [[s] for s in seconds[DENSE]])),
                **counted[name],
                "peak_bytes": peak.own,
            }
        )


def sparse_grids(content: Content) -> list[Grid]:
    """Return a table with a line for each way. Brackets after a number of MiB hold its ratio to dense training's."""
    given = content["arguments"]
    columns = ["training", "seconds", "over dense", "peak MiB", "state MiB", "reduced MiB"]
    grid = Grid(f"A training step, batch {given['batch']}, length {given['length']}, {content['device']}", columns)
    rows = content["rows"]
    for row in rows:
        cells = [f"{row[key] / MiB:.1f} ({row[key] / rows[0][key]:.3f})" for key in ("peak_bytes", "state_bytes")]
        reduced = f"{row['reduced_bytes'] / MiB:.1f} ({row['reduced_bytes'] / rows[0]['reduced_bytes']:.3f})"
        speed = [f"{median(row['seconds']):.3f}", ratio_text(row)]
        name = row["way"] if row["way"] == DENSE else f"{100 * float(row['way']):g} %"
        grid.rows.append([name, *speed, *cells, reduced])
    grid.note = (
        "peak: beyond what the libraries take; reduced: bytes of the gradients two or more ranks reduce once a step, "
        "from their shapes (tests/tuning/test_zero_sparse.py counts them on two ranks); state: both moments"
    )
    return [grid]


def sparse_values(content: Content) -> Values:
    """Return (way, case) → the seconds of each round."""
    given = content["arguments"]
    case = f"batch {given['batch']}, length {given['length']}, s"
    return {(row["way"], case): ([[one] for one in row["seconds"]], 0.0) for row in content["rows"]}
