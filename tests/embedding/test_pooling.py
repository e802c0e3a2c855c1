"""Test that we pool hidden states as sentence-transformers does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bistil_ds.embedding.pooling import MODES, pool

LENGTHS = (5, 1, 7, 3)


def states(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    mask_BT = (torch.arange(7) < torch.tensor(LENGTHS)[:, None]).long()
    return torch.randn(4, 7, 6, generator=torch.Generator().manual_seed(0)).to(dtype), mask_BT


@pytest.mark.parametrize("modes", [*((mode,) for mode in MODES), ("lasttoken", "mean", "cls")])
@pytest.mark.parametrize("left", [False, True])
def test_every_mode_gives_the_vectors_of_sentence_transformers(modes: tuple[str, ...], left: bool) -> None:
    pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import Pooling

    states_BTD, mask_BT = states()
    mask_BT = mask_BT.flip(1) if left else mask_BT
    theirs = Pooling(6, modes)({"token_embeddings": states_BTD, "attention_mask": mask_BT})["sentence_embedding"]
    torch.testing.assert_close(pool(states_BTD, mask_BT, modes), theirs, rtol=1e-6, atol=1e-7)


def test_padding_changes_no_vector() -> None:
    states_BTD, mask_BT = states()
    vectors = pool(states_BTD, mask_BT, list(MODES))
    for row, length in enumerate(LENGTHS):
        alone = pool(states_BTD[row : row + 1, :length], None, list(MODES))
        torch.testing.assert_close(vectors[row : row + 1], alone, rtol=1e-6, atol=1e-6)


def test_vectors_of_half_precision_are_summed_in_single_precision() -> None:
    states_BTD, mask_BT = states(torch.bfloat16)
    found = pool(states_BTD, mask_BT, ["mean"])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, pool(states_BTD.float(), mask_BT, ["mean"]))
