"""Test which language and which chunks each micro-step sees."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
import torch
from accelerate import skip_first_batches
from datasets import Dataset
from torch.utils.data import DataLoader

from bistil_ds.text.batches import MonolingualBatches, steps_of_epochs
from bistil_ds.text.chunks import MultilingualChunks, collate_chunks


def batches(sizes: tuple[int, int] = (50, 23), **options: int) -> MonolingualBatches:
    return MonolingualBatches(sizes, **{"batch_size": 4, "micro_steps": 100, "seed": 3, **options})


def loader(sampler: MonolingualBatches) -> DataLoader:
    source = Dataset.from_dict({"input_ids": [[i, 0] for i in range(sampler.sizes[0])]})
    target = Dataset.from_dict({"input_ids": [[i, 1] for i in range(sampler.sizes[1])]})
    return DataLoader(
        MultilingualChunks([source, target]),
        batch_sampler=sampler,
        collate_fn=lambda rows: collate_chunks(rows, pad_token_id=0),
    )


def test_each_pair_of_micro_steps_holds_both_languages_in_an_order_that_changes() -> None:
    order = [batches().language_of(step) for step in range(1000)]
    pairs = Counter(zip(order[::2], order[1::2]))
    assert set(pairs) == {(0, 1), (1, 0)}
    assert 200 < pairs[0, 1] < 300
    assert order != [batches(seed=4).language_of(step) for step in range(1000)]


def test_a_micro_step_is_a_function_of_its_number_and_the_arguments_alone() -> None:
    forwards = {step: batches().rows_of(step) for step in range(60)}
    one = batches()
    assert {step: one.rows_of(step) for step in reversed(range(60))} == {s: forwards[s] for s in reversed(range(60))}
    assert forwards != {step: batches(seed=4).rows_of(step) for step in range(60)}


def test_one_rank_of_eight_and_two_ranks_of_four_see_the_same_global_batches() -> None:
    alone = list(batches(batch_size=8))
    ranks = [list(batches(batch_size=4, world_size=2, rank=rank)) for rank in range(2)]
    assert [first + second for first, second in zip(*ranks)] == alone


@pytest.mark.parametrize("batch_size", [1, 4, 7, 30])
def test_every_chunk_comes_once_a_pass_and_each_pass_has_another_order(batch_size: int) -> None:
    sampler = batches(batch_size=batch_size, micro_steps=600)
    for language, size in enumerate(sampler.sizes):
        stream = [row for step in range(600) if sampler.language_of(step) == language for row in sampler.rows_of(step)]
        assert len(stream) == 300 * batch_size
        passes = [tuple(stream[first : first + size]) for first in range(0, len(stream) - size + 1, size)]
        assert all(sorted(rows) == list(range(size)) for rows in passes)
        assert len(set(passes)) == len(passes) > 1


def test_the_sampler_counts_target_rows_after_the_source_rows() -> None:
    sampler = batches()
    for step, rows in enumerate(sampler):
        offset = 50 * sampler.language_of(step)
        assert rows == [offset + row for row in sampler.rows_of(step)]


def test_a_resumed_training_continues_the_sequence() -> None:
    whole = [batch["input_ids"].tolist() for batch in loader(batches())]
    assert len(loader(batches())) == len(whole) == 100
    skipped = [batch["input_ids"].tolist() for batch in skip_first_batches(loader(batches()), 37)]
    assert skipped == whole[37:]
    started = [batch["input_ids"].tolist() for batch in loader(batches(start=37))]
    assert started == whole[37:]
    assert len(batches(start=37)) == 63


def test_skipped_micro_steps_read_no_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    resumed = skip_first_batches(loader(batches((4000, 3000), batch_size=8, micro_steps=10_001)), 10_000)
    read, get = [], MultilingualChunks.__getitems__
    monkeypatch.setattr(MultilingualChunks, "__getitems__", lambda self, rows: (read.extend(rows), get(self, rows))[1])
    assert len(list(resumed)) == 1
    assert len(read) == 8


def test_no_chunks_or_a_rank_outside_the_world_are_refused() -> None:
    with pytest.raises(ValueError, match="chunks in every language"):
        batches((0, 3))
    with pytest.raises(ValueError, match="rank below the world size"):
        batches(rank=2, world_size=2)


@pytest.mark.parametrize("sizes", [(50, 23), (5, 23)])
def test_a_batch_is_tensors_of_one_language_with_full_attention(sizes: tuple[int, int]) -> None:
    sampler = batches(sizes)
    for step, batch in enumerate(islice(loader(sampler), 6)):
        language = sampler.language_of(step)
        assert batch["language"] == language
        assert batch["input_ids"].dtype == torch.int64
        assert batch["input_ids"].tolist() == [[row, language] for row in sampler.rows_of(step)]
        assert "attention_mask" not in batch


@pytest.mark.parametrize("as_dataset", [True, False])
def test_rows_of_unequal_length_are_padded_and_padding_is_masked(as_dataset: bool) -> None:
    rows = [{"input_ids": [5, 6, 7]}, {"input_ids": [8]}]
    source = Dataset.from_list(rows) if as_dataset else rows
    chunks = MultilingualChunks([source, source])
    batch = collate_chunks(chunks.__getitems__([3, 2]), pad_token_id=9)
    assert batch["input_ids"].tolist() == [[8, 9, 9], [5, 6, 7]]
    assert batch["attention_mask"].tolist() == [[1, 0, 0], [1, 1, 1]]
    assert batch["language"] == 1


@pytest.mark.parametrize("as_dataset", [True, False])
def test_masks_that_rows_bring_are_kept(as_dataset: bool) -> None:
    rows = [
        {"input_ids": [5, 1], "attention_mask": [1, 0], "id": "x"},
        {"input_ids": [6, 7], "attention_mask": [1, 1], "id": "y"},
    ]
    source = Dataset.from_list(rows) if as_dataset else rows
    batch = collate_chunks(MultilingualChunks([source, source]).__getitems__([0, 1]), pad_token_id=1)
    assert batch["attention_mask"].tolist() == [[1, 0], [1, 1]]
    assert set(batch) == {"input_ids", "attention_mask", "language"}


def test_plain_rows_without_a_language_are_collated_too() -> None:
    assert set(collate_chunks([{"input_ids": [1, 2]}], pad_token_id=0)) == {"input_ids"}


def test_two_languages_in_a_batch_are_refused() -> None:
    chunks = MultilingualChunks([[{"input_ids": [1]}], [{"input_ids": [2]}]])
    with pytest.raises(ValueError, match="one language"):
        chunks.__getitems__([0, 1])
    with pytest.raises(ValueError, match="one language"):
        collate_chunks([chunks[0], chunks[1]], pad_token_id=0)


@pytest.mark.parametrize(("sizes", "rows"), [((50, 23), 8), ((23, 50), 8), ((50, 50), 7), ((3, 1), 64)])
def test_an_epoch_is_a_pass_over_the_longer_text_and_no_step_more(sizes: tuple[int, int], rows: int) -> None:
    steps = steps_of_epochs(1, sizes, rows)
    longer = int(sizes[1] > sizes[0])
    per_micro_step = rows // 2 if rows % 2 == 0 else rows
    micro_steps = steps * rows // per_micro_step
    sampler = batches(sizes, batch_size=per_micro_step, micro_steps=micro_steps + micro_steps % 2)
    seen = [row for step in range(len(sampler)) if sampler.language_of(step) == longer for row in sampler.rows_of(step)]
    assert set(seen) == set(range(max(sizes)))
    assert len(seen) < max(sizes) + rows
    assert steps_of_epochs(2.5, (400, 10), 8) == 250
