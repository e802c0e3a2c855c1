"""Test masked language modelling: chunks of text, repeatable masks, and a head that runs only where it must."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from student_models import KINDS, tiny_teacher
from tiny import text_lines, unigram_tokenizer, xlmr
from tokenizer_kinds.other_tokenizers import wordpiece_tokenizer
from torch import Tensor
from transformers import AutoModelForMaskedLM, PreTrainedTokenizerFast

from bistil_ds.errors import InputError
from bistil_ds.tasks import ReadOptions, find_task
from bistil_ds.tasks.data import TaskData
from bistil_ds.tasks.examples import Place, Text
from bistil_ds.tasks.prediction import predict

MLM = find_task("mlm")
TEXTS = [Text(line, Place("f.txt", i)) for i, line in enumerate(text_lines("aa", 120), start=1)]
LENGTH = 32


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return unigram_tokenizer()


def rows_of(tokenizer: PreTrainedTokenizerFast, training: bool, texts: list[Text] = TEXTS) -> list[dict[str, Any]]:
    return MLM.features(texts, tokenizer, (), LENGTH, training=training)


def test_chunks_are_the_texts_with_their_special_tokens_in_order(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = rows_of(tokenizer, training=True)
    texts = tokenizer([text.text for text in TEXTS])["input_ids"]
    flat = [token for ids in texts for token in ids]
    owner = [i for i, ids in enumerate(texts) for _ in ids]
    assert [token for row in rows for token in row["input_ids"]] == flat
    assert {len(row["input_ids"]) for row in rows[:-1]} == {LENGTH}
    assert [row["example"] for row in rows] == owner[::LENGTH]


def test_a_chunk_without_an_ordinary_token_is_left_out(tokenizer: PreTrainedTokenizerFast) -> None:
    length = len(tokenizer("ba ke")["input_ids"])  # so that the last chunk is </s> alone
    for training in (True, False):
        rows = MLM.features([Text("ba ke", Place("f", 1))], tokenizer, (), length - 1, training=training)
        assert len(rows) == 1
    assert MLM.features([], tokenizer, (), LENGTH, training=False) == []


def masks(rows: list[dict[str, Any]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return original ids, inputs and labels of all rows but the last."""
    originals = torch.tensor([row["input_ids"] for row in rows[:-1]])
    batch = MLM.draw(MLM.collate(rows[:-1], 1), 0)
    return originals, batch["input_ids"], batch["labels"]


def test_training_masks_ordinary_tokens_as_bert_does(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = rows_of(tokenizer, training=True, texts=TEXTS * 20)
    original, inputs, labels = masks(rows)
    chosen = labels != -100
    special = torch.isin(original, torch.tensor(tokenizer.all_special_ids))
    assert not (chosen & special).any()
    assert torch.equal(labels[chosen], original[chosen])
    assert torch.equal(inputs[~chosen], original[~chosen])
    assert chosen.sum() / (~special).sum() == pytest.approx(0.15, abs=0.01)
    assert (inputs[chosen] == tokenizer.mask_token_id).float().mean() == pytest.approx(0.8, abs=0.03)
    assert (inputs[chosen] == original[chosen]).float().mean() == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_seed_alone_decides_the_masks_of_training(tokenizer: PreTrainedTokenizerFast, batch: int) -> None:
    rows = rows_of(tokenizer, training=True)[:batch]

    def mask(seed: int, worker: int) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(worker)
            return MLM.draw(MLM.collate(rows, 1), seed)["input_ids"]

    assert torch.equal(mask(0, worker=0), mask(0, worker=1))
    assert not torch.equal(mask(0, worker=0), mask(1, worker=0))


def test_evaluation_masks_are_the_same_each_time_and_in_any_batch(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = rows_of(tokenizer, training=False)
    assert rows == rows_of(tokenizer, training=False)
    before = [torch.equal(MLM.collate([row], 1)["labels"], torch.tensor([row["labels"]])) for row in rows]
    assert all(before)
    plain = rows_of(tokenizer, training=True)
    assert len({tuple(row["labels"][i] != -100 for i in range(20)) for row in rows[:-1]}) > 5
    for row, unmasked in zip(rows, plain):
        restored = [i if label == -100 else label for i, label in zip(row["input_ids"], row["labels"])]
        assert restored == unmasked["input_ids"]


def test_every_row_has_a_masked_token_however_short(tokenizer: PreTrainedTokenizerFast) -> None:
    for seed in range(30):
        texts = [Text("ba", Place("f", 1))]
        training = bool(seed % 2)
        row = MLM.features(texts, tokenizer, (), LENGTH, training=training)[0]
        batch = MLM.collate([row, row], 1)
        if training:
            batch = MLM.draw(batch, seed)
        assert ((batch["labels"] != -100).sum(1) >= 1).all()


def test_the_head_runs_at_masked_tokens_only_and_loss_and_gradients_are_those_of_the_whole(
    tmp_path: Path,
) -> None:
    for kind in KINDS:
        folder = tmp_path / kind
        tiny_teacher(kind, layers=2).save_pretrained(folder)
        ours, plain = MLM.load_model(folder, ()), AutoModelForMaskedLM.from_pretrained(folder)
        ids = torch.randint(5, 61, (3, 12), generator=torch.Generator().manual_seed(0))
        labels = torch.where(torch.arange(36).view(3, 12) % 5 == 0, ids, -100)
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
        outputs, expected = ours(**batch), plain(**batch)
        assert outputs.logits.shape == (8, 61)
        assert torch.allclose(outputs.logits, expected.logits[labels != -100], atol=1e-5)
        assert torch.allclose(outputs.loss, expected.loss)
        outputs.loss.backward()
        expected.loss.backward()
        for (name, one), other in zip(ours.named_parameters(), plain.parameters(), strict=True):
            assert (one.grad is None) == (other.grad is None), name
            if one.grad is not None:
                assert torch.allclose(one.grad, other.grad, atol=1e-4), name
        unlabelled = {"input_ids": ids, "attention_mask": batch["attention_mask"]}
        assert torch.equal(ours(**unlabelled).logits, plain(**unlabelled).logits)
        (whole,) = MLM.distilled_logits(expected, batch)
        (part,) = MLM.distilled_logits(outputs, batch)
        assert torch.allclose(whole, part, atol=1e-5)
        twin = copy.deepcopy(ours)
        assert torch.equal(twin(**batch).logits, outputs.logits)


def test_a_saved_model_is_the_plain_masked_language_model(tmp_path: Path) -> None:
    tiny_teacher("bert", layers=2).save_pretrained(tmp_path / "a")
    MLM.load_model(tmp_path / "a", ()).save_pretrained(tmp_path / "b")
    one, other = (AutoModelForMaskedLM.from_pretrained(tmp_path / name).state_dict() for name in "ab")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_accuracy_is_the_share_of_masked_tokens_named(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    xlmr(len(tokenizer)).save_pretrained(tmp_path)
    model = MLM.load_model(tmp_path, ())
    frequent = tokenizer.convert_tokens_to_ids(".")
    with torch.no_grad():
        model.lm_head.bias[frequent] = 1e4  # the head answers nothing else
    data = TaskData(MLM, None, "", list(TEXTS), rows_of(tokenizer, training=False))
    answers = predict(model, data, (), batch_size=7, device=torch.device("cpu"), pad_token_id=1)
    assert len(answers) == len(TEXTS)
    totals = sum(MLM.counts(text, answer, None) for text, answer in zip(TEXTS, answers))
    assert isinstance(totals, np.ndarray)
    wanted = [label for row in data.rows for label in row["labels"] if label != -100]
    assert totals.tolist() == [wanted.count(frequent), len(wanted)]
    assert 0 < MLM.metrics(totals)["accuracy"] < 1
    assert MLM.metrics(np.zeros(2)) == {"accuracy": 0.0}


def test_a_few_steps_lower_the_loss(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    xlmr(len(tokenizer), layers=2).save_pretrained(tmp_path)
    model = MLM.load_model(tmp_path, ())
    rows = rows_of(tokenizer, training=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for epoch in range(6):
        for start in range(0, len(rows), 16):
            batch = MLM.draw(MLM.collate(rows[start : start + 16], 1), seed=epoch * len(rows) + start)
            loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    assert all(map(math.isfinite, losses))
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])


def test_what_is_no_masked_language_model_is_refused(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    find_task("ner").load_model(_saved(tmp_path / "a", tokenizer), ["O"]).save_pretrained(tmp_path / "b")
    with pytest.raises(InputError, match=r"b: is no masked language model \(no lm_head"):
        MLM.load_model(tmp_path / "b", ())
    maskless = wordpiece_tokenizer()
    maskless.mask_token = None
    with pytest.raises(InputError, match="no mask token"):
        rows_of(maskless, training=True)


def _saved(folder: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    xlmr(len(tokenizer), layers=2).save_pretrained(folder)
    return folder


def test_it_has_no_labels_and_trains_no_head(tmp_path: Path) -> None:
    assert MLM.labels(TEXTS) == ()
    MLM.check_labels(TEXTS, (), "--test_file")
    assert not MLM.trains_head
    (tmp_path / "a.txt").write_text("One line.\n\nAnother line.\n")
    assert [text.text for text in MLM.read(str(tmp_path / "a.txt"), ReadOptions())] == ["One line.", "Another line."]
    with pytest.raises(InputError, match="--label_map A=B: the examples of mlm have no labels"):
        MLM.read("a.txt", ReadOptions(label_map={"A": "B"}))
    assert MLM.text_key(Text("One  LINE.", Place("f", 1))) == "one line."
