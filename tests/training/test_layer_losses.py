"""Test the losses of hidden states as both phases call them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bistil_ds.training.layer_losses import hidden_terms


@pytest.mark.parametrize("kind", ["mse", "cosine"])
def test_each_pair_of_states_has_its_loss_over_real_tokens(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = ([torch.randn(2, 5, 8, generator=generator) for _ in range(3)] for _ in range(2))
    real = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]).bool()
    expected = [
        (s - t)[real].square().mean() if kind == "mse" else (1 - nn.functional.cosine_similarity(s, t, -1))[real].mean()
        for s, t in zip(ours, theirs)
    ]
    given = list(ours), list(theirs)
    torch.testing.assert_close(hidden_terms(*given, real, None, 1.0, kind), torch.stack(expected))
    assert given == ([], [])
    if kind == "mse":
        torch.testing.assert_close(hidden_terms(ours, theirs, real, None, 1.0), torch.stack(expected))
