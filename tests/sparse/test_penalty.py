"""Test that the L1 penalty is λ times the mean |θ − θ0| over maskable entries, whatever the accumulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sparse_material as material
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from bistil_ds.sparse import attach, random_entries
from bistil_ds.sparse.maskable import maskable_count, maskable_parameters
from bistil_ds.sparse.penalty import penalise

LAMBDA = 300.0
# With plain gradient descent, the change of a weight shows its gradient.
HOW: dict[str, Any] = {"optim": "sgd", "max_grad_norm": 0.0, "max_steps": 3, "lr_scheduler_type": "constant"}


def expected(base: Path, accumulate: int, selection: dict[str, Tensor] | None) -> dict[str, Tensor]:
    """Return the weights after three steps in plain PyTorch with the penalty as a term of the loss."""
    torch.manual_seed(0)
    model, start = material.load(base), material.load(base)
    maskable, starts = maskable_parameters(model), maskable_parameters(start)
    trained = [p for n, p in model.named_parameters() if n in maskable or n.startswith("classifier")]
    optimizer = torch.optim.SGD(trained, 1e-2)
    batches = iter(DataLoader(material.Tags(64), 4))
    for _ in range(3):
        optimizer.zero_grad()
        for _ in range(accumulate):
            change = sum((p - starts[n].detach()).abs().sum() for n, p in maskable.items())
            loss = model(**next(batches)).loss + LAMBDA * change / maskable_count(start)
            (loss / accumulate).backward()
        for name, parameter in maskable.items():
            if selection is not None and parameter.grad is not None:
                mask = torch.zeros(parameter.numel()).index_fill(0, selection.get(name, torch.empty(0)).long(), 1)
                parameter.grad *= mask.view_as(parameter)
        optimizer.step()
    return {name: p.detach() for name, p in model.named_parameters()}


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("stage", ["full", "sparse"])
def test_the_gradient_is_that_of_the_term(base: Path, tmp_path: Path, stage: str, accumulate: int) -> None:
    torch.manual_seed(0)
    model = material.load(base)
    selection = random_entries(model, 900, seed=1) if stage == "sparse" else None
    if selection is not None:
        attach(model, selection)
    else:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("LayerNorm" not in name)
    args = material.arguments(tmp_path, save_strategy="no", gradient_accumulation_steps=accumulate, **HOW)
    trainer = material.TagTrainer(model, args, train_dataset=material.Tags(64))
    trainer._get_train_sampler = lambda *_: None
    penalise(trainer, LAMBDA, base)
    trainer.train()
    wanted = expected(base, accumulate, selection)
    found = dict(model.named_parameters())
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name].detach(), tensor, rtol=0, atol=1e-6)
    moved = sum(float((found[n] - p).abs().sum()) for n, p in material.load(base).named_parameters() if n in wanted)
    assert moved > 0
