"""Count the operations of a forward pass and of a phase-1 step, on models without weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from bistil_kernels.flops import formulas
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForMaskedLM, PreTrainedModel

from bistil_ds.benchmarking.models.shapes import config_of, label_of, reference_of
from bistil_ds.benchmarking.training_step.ways import Steps
from bistil_ds.console.grid import Grid
from bistil_ds.errors import InputError

META = torch.device("meta")
WITH_VALUES = ("deberta-v2",)  # types whose forward pass computes with values of tensors, not with shapes alone


def model_row(name: str, names: list[str], batch: int, length: int) -> dict[str, Any]:
    """Return a model's row: operations of its encoder's forward pass and, if possible, of a phase-1 step.

    In the step the model is the student, and its reference the teacher. `step_flops` says which steps can be counted.
    """
    model, reference = shape_of(name), reference_of(name, names)
    row: dict[str, Any] = {"model": label_of(name), "reference": label_of(reference)}
    row |= {"batch": batch, "length": length, "forward": forward_flops(model, batch, length)}
    if name != reference and (step := step_flops(model, shape_of(reference), batch, length)) is not None:
        row["step"] = step
    return row


def shape_of(name: str) -> PreTrainedModel:
    """Return the masked language model on the meta device, where tensors have shapes but no values."""
    with META:
        model: PreTrainedModel = AutoModelForMaskedLM.from_config(config_of(name))
    return model.eval()


def forward_flops(model: PreTrainedModel, batch: int, length: int) -> dict[str, int]:
    """Return the operations of the encoder's forward pass: `total`, and those of each direct submodule that has any.

    In layers with a sliding window, scores count as if there were none.

    Raises:
        InputError: the forward pass computes with values, as DeBERTa-v2's does, and a model without weights has none.
    """
    encoder = model.base_model
    if model.config.model_type in WITH_VALUES:
        kind = model.config.model_type
        raise InputError(f"--model: operations of {kind} models cannot be counted without their weights; leave it out")
    with flop_counter() as counter, torch.no_grad():
        encoder(**_inputs(model, batch, length))
    counts = counter.get_flop_counts()
    parts = {name: sum(counts[name].values()) for name in _children(encoder, counts)}
    return {"total": counter.get_total_flops(), **parts}


def step_flops(student: PreTrainedModel, teacher: PreTrainedModel, batch: int, length: int) -> dict[str, int] | None:
    """Return the operations of a phase-1 step: `ours` with our losses, `floor` without any distillation loss.

    Both include the teacher's forward pass and the student's forward and backward. The result is None unless both
    models have the same type and width and the teacher has 2, 3, 4 … times as many layers as the student.
    """
    layers = teacher.config.num_hidden_layers, student.config.num_hidden_layers
    if teacher.config.model_type != student.config.model_type or layers[0] % layers[1]:
        return None
    if teacher.config.hidden_size != student.config.hidden_size or layers[0] == layers[1]:
        return None
    inputs = _inputs(student, batch, length)
    steps = Steps(student.train(), teacher, {"input_ids": inputs["input_ids"]})
    found = {}
    for name in ("floor", "ours"):
        way = steps.way(name)
        way.prepare()
        with flop_counter() as counter:
            way.step()
        found[name] = counter.get_total_flops()
    return found


def flops_grids(content: Mapping[str, Any]) -> list[Grid]:
    """Return a table for each batch and length: operations for a sentence and for a token, and two ratios.

    The first ratio divides the model's operations by the reference's. The second is the share of our losses in the
    operations of a phase-1 step.
    """
    cases: dict[tuple[int, int], dict[str, Any]] = {}
    for row in content["rows"]:
        cases.setdefault((row["batch"], row["length"]), {})[row["model"]] = row
    grids = []
    for (batch, length), rows in cases.items():
        columns = ["model", "GFLOP/sentence", "MFLOP/token", "over reference", "phase-1 step, GFLOP", "of it losses"]
        grid = Grid(f"Operations, length {length}", columns)
        for name, row in rows.items():
            total = row["forward"]["total"] / batch
            share = row["forward"]["total"] / rows[row["reference"]]["forward"]["total"]
            step = row.get("step")
            cells = [f"{total / 1e9:.2f}", f"{total / length / 1e6:.1f}", f"{share:.3f}"]
            cells += [f"{step['ours'] / 1e9:.0f}", f"{1 - step['floor'] / step['ours']:.1%}"] if step else ["", ""]
            grid.rows.append([name, *cells])
        counted = "matrix products, two operations a multiply-add; encoder without vocabulary head"
        grid.note = f"{counted}; step: batch {batch}"
        grids.append(grid)
    return grids


def _inputs(model: PreTrainedModel, batch: int, length: int) -> dict[str, torch.Tensor]:
    return {"input_ids": torch.zeros(batch, length, dtype=torch.int64, device=META)}


def _children(encoder: nn.Module, counts: Mapping[str, Any]) -> list[str]:
    names = [f"{type(encoder).__name__}.{name}" for name, _ in encoder.named_children()]
    return [name for name in names if name in counts]


def flop_counter() -> FlopCounterMode:
    """Return a counter of operations that knows our kernels too; torch's own table of formulas does not change."""
    return FlopCounterMode(display=False, custom_mapping=formulas())
