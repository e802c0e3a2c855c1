"""Test MiniLMv2's relations of tokens: the formula, which layers they compare, and what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from distilling.plain_losses import gradients, padded, pair
from student_models import OBSERVABLE
from torch import Tensor
from transformers import BertConfig, EuroBertConfig, PreTrainedModel

from bistil_ds.distillation.arguments import LossArguments
from bistil_ds.distillation.distiller import Distiller
from bistil_ds.distillation.relation_heads import relation_heads
from bistil_ds.errors import InputError
from bistil_ds.models.families import family_of, layers_of
from bistil_ds.training.layer_losses import relation_terms

ONLY = {"hidden_weight": "0", "attention_weight": "0", "relation_weight": "1"}


def plain(student: list[Tensor], teacher: list[Tensor], mask_BT: Tensor, heads: int) -> Tensor:
    """Return the mean divergence of queries', keys' and values' relations, in float64, every map materialised."""
    losses = []
    for ours, theirs in zip(student, teacher, strict=True):
        maps = []
        for x in (ours, theirs):
            cut = x.double().transpose(1, 2).flatten(2)
            cut = cut.view(*cut.shape[:2], heads, -1).transpose(1, 2)
            scores = cut @ cut.transpose(2, 3) / cut.shape[-1] ** 0.5
            maps.append(scores.masked_fill(~mask_BT[:, None, None], -torch.inf).log_softmax(-1))
        difference = (maps[1].exp() * (maps[1] - maps[0])).masked_fill(~mask_BT[:, None, None], 0.0).sum(-1)
        losses.append(difference.transpose(1, 2)[mask_BT].mean())
    return torch.stack(losses)


def heads_of(H: int, Hk: int, T: int, d: int, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, heads, T, d, generator=generator) for heads in (H, Hk, Hk)]


@pytest.mark.parametrize("shapes", [((4, 4, 6), (4, 4, 9), 12), ((4, 2, 6), (4, 4, 3), 3)])
def test_relations_and_gradients_are_those_of_the_plain_way(shapes) -> None:
    (H, Hk, d), (teacher_H, teacher_Hk, teacher_d), heads = shapes
    student, teacher = heads_of(H, Hk, 5, d, 0), heads_of(teacher_H, teacher_Hk, 5, teacher_d, 1)
    mask_BT = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    found, wanted = [], []
    for loss, into in ((relation_terms, found), (plain, wanted)):
        leaves = [x.clone().requires_grad_() for x in student]
        values = relation_terms(leaves, teacher, mask_BT, heads, True, 1.0) if loss is relation_terms else None
        values = plain(leaves, teacher, mask_BT, heads) if values is None else values
        values.mean().backward()
        into += [values.detach().double(), *(leaf.grad.double() for leaf in leaves)]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)


def related(model: PreTrainedModel, layer: int) -> tuple[list[Tensor], list]:
    """Return what the modules of a layer that compute queries, keys and values give, and the hooks that take it."""
    taken: list[Tensor] = []
    family, parent = family_of(model), layers_of(model)[layer]
    names = dict.fromkeys((*family.query_key, family.value))
    return taken, [parent.get_submodule(n).register_forward_hook(lambda m, a, out: taken.append(out)) for n in names]


@pytest.mark.parametrize("layer", [None, 1])
def test_the_students_last_layer_is_compared_with_the_wanted_one(layer: int | None) -> None:
    teacher, student, layer_map, _ = pair("xlm-roberta")
    batch, heads = padded(), 4
    losses = LossArguments(**ONLY, relation_layer=layer, relation_heads=heads)
    taken = [related(student, len(layer_map) - 1), related(teacher, layer_map[-1] if layer is None else layer)]
    terms = Distiller(student, teacher, layer_map, losses)(student, batch)
    ours, theirs = ([x[:, None] for x in found] for found, _ in taken)  # one attention head, as wide as the model
    expected = plain(ours, theirs, batch["attention_mask"].bool(), heads)
    torch.testing.assert_close(terms["relation"].double(), expected.detach(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(terms.total.double(), expected.mean().detach(), rtol=1e-5, atol=1e-7)
    assert {"relation_0", "relation_1", "relation_2"} <= set(terms.scalars())


@pytest.mark.parametrize("kind", OBSERVABLE)
def test_relations_join_the_other_losses_and_reach_the_values(kind: str) -> None:
    teacher, student, layer_map, _ = pair(kind)
    batch = padded()
    both = Distiller(student, teacher, layer_map, LossArguments(relation_weight="2"))(student, batch)
    without = Distiller(student, teacher, layer_map, LossArguments())(student, batch)
    assert float(both["relation"].mean().detach()) > 0
    torch.testing.assert_close(both.total, without.total + 2 * both["relation"].mean())
    distiller = Distiller(student, teacher, layer_map, LossArguments(**ONLY))
    found = gradients(student, distiller(student, batch).total)
    last = f"{family_of(student).layers}.{len(layer_map) - 1}.{family_of(student).value}.weight"
    assert float(found[last].abs().sum()) > 0


def test_a_student_that_is_its_teacher_has_no_loss() -> None:
    teacher, _, _, _ = pair()
    layers = list(range(teacher.config.num_hidden_layers))
    student = copy.deepcopy(teacher).eval()
    terms = Distiller(student, teacher, layers, LossArguments(**ONLY))(student, padded())
    assert float(terms.total) == pytest.approx(0.0, abs=1e-6)


def test_heads_of_16_values_are_the_default_where_they_divide_all_widths() -> None:
    assert relation_heads(None, [BertConfig(hidden_size=768)]) == 48
    assert relation_heads(None, [BertConfig(hidden_size=192), BertConfig(hidden_size=384)]) == 24
    grouped = EuroBertConfig(hidden_size=96, num_attention_heads=6, num_key_value_heads=2, head_dim=16)
    assert relation_heads(None, [grouped]) == 4  # keys of 32 values: neither 6 nor 5 divide them


def test_heads_that_do_not_divide_a_width_are_refused() -> None:
    with pytest.raises(InputError, match="--relation_heads 5: does not divide the width 384 of queries"):
        relation_heads(5, [BertConfig(hidden_size=384)])
