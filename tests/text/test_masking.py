"""Test that tokens are masked as in BERT, by the seed alone: the same on one rank as on several."""

from __future__ import annotations

import pytest
import torch

from bistil_ds.text.masking import mask_tokens

MASK, VOCABULARY = 999, 500
IDS_BT = torch.randint(10, VOCABULARY, (400, 250), generator=torch.Generator().manual_seed(0))
MASKABLE_BT = IDS_BT % 10 != 0


def masked(rows: slice = slice(0, 400), seed: int = 1, probability: float = 0.15):
    return mask_tokens(
        IDS_BT[rows],
        MASKABLE_BT[rows],
        seed=seed,
        rows=rows,
        total_rows=400,
        mask_token_id=MASK,
        vocab_size=VOCABULARY,
        probability=probability,
    )


@pytest.mark.parametrize("probability", [0.15, 0.4])
def test_the_share_of_chosen_tokens_is_the_probability(probability: float) -> None:
    _, labels = masked(probability=probability)
    assert (labels[MASKABLE_BT] != -100).float().mean() == pytest.approx(probability, abs=0.005)


def test_of_the_chosen_four_fifths_become_the_mask_and_a_tenth_stays() -> None:
    ids, labels = masked()
    chosen = labels != -100
    assert (ids[chosen] == MASK).float().mean() == pytest.approx(0.8, abs=0.015)
    assert (ids[chosen] == labels[chosen]).float().mean() == pytest.approx(0.1 + 0.1 / VOCABULARY, abs=0.015)
    swapped = ids[chosen & (ids != MASK) & (ids != IDS_BT)]
    assert swapped.max() < VOCABULARY
    assert swapped.unique().numel() > 0.8 * VOCABULARY


def test_labels_are_the_original_ids_and_all_else_is_left_alone() -> None:
    ids, labels = masked()
    chosen = labels != -100
    assert torch.equal(labels[chosen], IDS_BT[chosen])
    assert torch.equal(ids[~chosen], IDS_BT[~chosen])
    assert not (chosen & ~MASKABLE_BT).any()


def test_ranks_together_mask_what_one_rank_does() -> None:
    parts = [masked(slice(0, 200)), masked(slice(200, 400))]
    for whole, *halves in zip(masked(), *parts):
        assert torch.equal(whole, torch.cat(halves))


def test_the_seed_decides() -> None:
    assert torch.equal(masked(seed=5)[0], masked(seed=5)[0])
    assert not torch.equal(masked(seed=5)[0], masked(seed=6)[0])
    assert masked(seed=2**63 + 5)[0].equal(masked(seed=5)[0])  # any integer is a seed


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    masked()
    assert torch.equal(before, torch.get_rng_state())
