"""Test batches of similar lengths: they depend on seed and epoch alone, so a resumed run goes on with the same ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import sparse_material as material
import torch
from sparse_material import base, quiet
from transformers import set_seed

from bistil_ds.errors import InputError
from bistil_ds.training.sampling import LengthGroups

__all__ = ["base", "quiet"]


def trainer(base: Path, folder: Path, **changes: Any) -> material.TagTrainer:
    """Return a trainer of eleven steps; four are an epoch."""
    args = material.arguments(folder, max_steps=11, save_steps=2, dataloader_drop_last=True, **changes)
    set_seed(3)
    return material.factory(rows=18)(material.load(base), args, None)


@pytest.mark.parametrize("strategy", ["random", "sequential", "group_by_length"])
def test_a_run_goes_on_with_the_batches_that_it_would_have_had(base: Path, tmp_path: Path, strategy: str) -> None:
    whole = trainer(base, tmp_path / "whole", train_sampling_strategy=strategy)
    whole.train()
    shutil.copytree(
        tmp_path / "whole", tmp_path / "cut", ignore=shutil.ignore_patterns("checkpoint-8", "checkpoint-1*")
    )
    again = trainer(base, tmp_path / "cut", train_sampling_strategy=strategy)
    torch.rand(5)  # chance that the first run did not use
    again.train(resume_from_checkpoint="true")
    weights = dict(whole.model.named_parameters())
    assert all(parameter.equal(weights[name]) for name, parameter in again.model.named_parameters())


def test_batches_that_a_resumed_run_would_not_have_had_are_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--train_sampling_strategy batch_rebalance"):
        trainer(base, tmp_path, train_sampling_strategy="batch_rebalance")


def order(batch_size: int, lengths: list[int], seed: int = 0, epoch: int = 0) -> list[int]:
    return list(LengthGroups(batch_size, lengths, seed, lambda: epoch))


def test_an_epoch_has_each_example_once_in_an_order_of_its_own() -> None:
    lengths = [1 + 7 * example % 50 for example in range(300)]
    first = order(4, lengths, seed=5)
    assert sorted(first) == list(range(300))
    torch.rand(5)
    assert order(4, lengths, seed=5) == first  # whatever else is drawn
    assert order(4, lengths, seed=6) != first
    assert order(4, lengths, seed=5, epoch=1) != first


def test_batches_are_padded_little_and_come_in_random_order() -> None:
    lengths = torch.randint(1, 100, (404,), generator=torch.Generator().manual_seed(0)).tolist()
    found = [lengths[example] for example in order(8, lengths)]
    batches_NB = torch.tensor(found[:400]).view(-1, 8)
    assert 8 * batches_NB.amax(1).sum() / batches_NB.sum() < 1.15  # of random batches: 1.8
    assert found[0] == max(lengths)
    longest_N = batches_NB.amax(1)
    assert 15 < (longest_N.diff() < 0).sum() < 35  # 48 of 49 if they went from long to short


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_few_examples_are_enough(count: int) -> None:
    assert sorted(order(4, [7] * count)) == list(range(count))


def test_all_ranks_of_a_step_have_examples_of_one_group(base: Path, tmp_path: Path, monkeypatch: Any) -> None:
    one = trainer(base, tmp_path, train_sampling_strategy="group_by_length", gradient_accumulation_steps=2)
    monkeypatch.setattr(type(one.args), "world_size", 3)
    sampler = one._get_train_sampler()
    assert isinstance(sampler, LengthGroups)
    assert (sampler.batch_size, sampler.seed, sampler.epoch()) == (4 * 2 * 3, 3, 0)
    one.state.epoch = 1.5
    assert sampler.epoch() == 1
    one.args.data_seed = 8
    assert one._get_train_sampler().seed == 8  # type: ignore[union-attr]
