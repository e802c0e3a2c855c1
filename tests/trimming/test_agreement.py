"""Test that the comparison of hidden states finds a difference, and compares only texts that are cut alike."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch

from bistil_ds.trimming.agreement import Agreement, compare_states
from bistil_ds.vocabulary import trim_model, trim_tokenizer
from bistil_ds.vocabulary.embeddings import share_weights
from bistil_ds.vocabulary.pieces import read_pieces


@pytest.fixture(scope="module")
def tokenizer():
    return tiny.unigram_tokenizer()


def trimmed(tokenizer, dropped: set[int]):
    kept_ids = np.array([i for i in range(len(tokenizer)) if i not in dropped - read_pieces(tokenizer).forced])
    model = tiny.xlmr(len(tokenizer), layers=2)
    small = share_weights(model)
    trim_model(small, kept_ids)
    return (model, small), (tokenizer, trim_tokenizer(tokenizer, kept_ids)), kept_ids


def test_texts_cut_otherwise_are_counted_apart(tokenizer):
    texts = tiny.text_lines("aa", 30)
    rare = set(tokenizer(texts[0], add_special_tokens=False)["input_ids"][:1])
    models, tokenizers, kept_ids = trimmed(tokenizer, rare)
    without = sum(not rare & set(ids) for ids in tokenizer(texts)["input_ids"])
    assert 0 < without < 30
    assert compare_states(texts, models, tokenizers, kept_ids) == Agreement(30, without, 0.0)
    assert compare_states(texts[:1], models, tokenizers, kept_ids) == Agreement(1, 0, None)


def test_one_changed_value_is_found(tokenizer):
    texts = tiny.text_lines("aa", 9)
    models, tokenizers, kept_ids = trimmed(tokenizer, {150})
    row = tokenizers[1](texts[8])["input_ids"][1]
    with torch.no_grad():
        models[1].get_input_embeddings().weight[row, 3] += 0.5
    found = compare_states(texts, models, tokenizers, kept_ids)
    assert found.compared == 9
    assert found.largest_difference > 0.01


def test_long_texts_are_compared_up_to_what_the_model_takes(tokenizer):
    models, tokenizers, kept_ids = trimmed(tokenizer, {150})
    found = compare_states([" ".join(tiny.text_lines("aa", 40))], models, tokenizers, kept_ids)
    assert (found.compared, found.largest_difference) == (1, 0.0)
