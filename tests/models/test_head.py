"""Test that the head runs on the wanted positions only, and can hand its last projection to a loss."""

from __future__ import annotations

import pytest
import torch
from student_models import KINDS, VOCABULARY, tiny_batches, tiny_teacher
from torch import Tensor, nn
from transformers import AutoModel

from bistil_ds.models.families import FAMILIES
from bistil_ds.models.head import HeadTap, flat_positions, head_parameters, masked_lm_head

BATCH = next(tiny_batches(0, 1))
POSITIONS = torch.tensor([0, 3, 14, 40])


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_the_wanted_positions(kind: str) -> None:
    model = tiny_teacher(kind)
    whole = model(**BATCH).logits.flatten(0, 1)
    with HeadTap(model) as tap:
        tap.set(POSITIONS, None)
        wanted = model(**BATCH).logits
    torch.testing.assert_close(wanted, whole[POSITIONS], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_projection_gets_what_makes_the_logits(kind: str) -> None:
    model = tiny_teacher(kind)
    whole = model(**BATCH).logits.flatten(0, 1)
    seen: list[Tensor | None] = []

    def projection(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
        seen[:] = [hidden_ND, weight_VD, bias_V]
        return hidden_ND.new_full((1,), 7.0)

    with HeadTap(model) as tap:
        tap.set(POSITIONS, projection)
        assert model(**BATCH).logits.tolist() == [7.0]
    torch.testing.assert_close(nn.functional.linear(*seen), whole[POSITIONS], rtol=1e-5, atol=1e-5)
    assert seen[1] is model.get_output_embeddings().weight


def test_without_positions_the_head_does_not_run() -> None:
    model = tiny_teacher("bert")
    calls: list[object] = []
    masked_lm_head(model).predictions.register_forward_hook(lambda *_: calls.append(1))
    with HeadTap(model):
        assert model(**BATCH).logits.numel() == 0
    assert not calls
    assert model(**BATCH).logits.shape == (*BATCH["input_ids"].shape, VOCABULARY)
    assert calls


def test_no_wanted_position_gives_no_logits() -> None:
    model = tiny_teacher("xlm-roberta")
    with HeadTap(model) as tap:
        tap.set(POSITIONS[:0], None)
        assert model(**BATCH).logits.shape == (0, VOCABULARY)


def test_leaving_the_tap_forgets_what_was_set() -> None:
    model = tiny_teacher("bert")
    with HeadTap(model) as tap:
        tap.set(POSITIONS, None)
    with tap:
        assert model(**BATCH).logits.numel() == 0


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_head_parameters_leave_out_tied_embeddings(kind: str, tied: bool) -> None:
    model = tiny_teacher(kind, tie_word_embeddings=tied)
    ids = {id(p) for p in head_parameters(model)}
    embeddings, output = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert (embeddings is output) == tied
    assert id(embeddings) not in ids
    assert (id(output) in ids) != tied
    outside = {id(p) for n, p in model.named_parameters() if not n.startswith(f"{FAMILIES[kind].encoder}.")}
    assert ids == outside - {id(embeddings)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_without_a_head_runs_as_it_is_and_only_its_pooler_is_behind_its_states(kind: str) -> None:
    model = tiny_teacher(kind, auto=AutoModel)
    expected = model(**BATCH).last_hidden_state
    with HeadTap(model) as tap:
        tap.set(POSITIONS, lambda *_: torch.zeros(1))
        assert torch.equal(model(**BATCH).last_hidden_state, expected)
    pooler = getattr(model, "pooler", None)
    assert {id(p) for p in head_parameters(model)} == {id(p) for p in (pooler.parameters() if pooler else ())}


def test_flat_positions_count_through_the_batch() -> None:
    mask_BT = torch.tensor([[False, True, False], [True, False, True]])
    assert flat_positions(mask_BT).tolist() == [1, 3, 5]


def test_a_model_without_a_masked_lm_head_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="Linear has no masked-LM head"):
        masked_lm_head(nn.Linear(2, 2))
