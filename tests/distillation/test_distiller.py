"""Test that every term of the loss is the published formula and that its gradient reaches the right tensors only.

The reference runs eager attention, materialises every map, and picks out the real positions of each sequence.
"""

from __future__ import annotations

import copy
import gc
import itertools
import weakref

import pytest
import torch
from distilling.plain_losses import eager, gradients, packed, padded, pair, plain_terms, with_labels
from student_models import KINDS, OBSERVABLE, VOCABULARY, tiny_teacher
from torch import Tensor, nn

from bistil_ds.distillation.arguments import LossArguments
from bistil_ds.distillation.distiller import Distiller
from bistil_ds.errors import InputError

CASES = {
    "as published": LossArguments(),
    "kl": LossArguments(attention_loss="kl"),
    "last": LossArguments(align_layers="last"),
    "DistilBERT": LossArguments(
        attention_weight="0", hidden_loss="cosine", align_layers="last", logit_weight="5", mlm_weight="2"
    ),
    "published padding": LossArguments(published_losses=True),
    "weights": LossArguments(hidden_weight="0.5", attention_weight="3"),
    "vocabulary": LossArguments(hidden_weight="0.3", attention_weight="2", logit_weight="0.7", mlm_weight="0.2"),
}


@pytest.mark.parametrize("kind", OBSERVABLE)
@pytest.mark.parametrize("make", [padded, packed])
@pytest.mark.parametrize("case", CASES)
def test_terms_and_gradients_are_those_of_the_plain_way(kind: str, make, case: str) -> None:
    losses, batch = CASES[case], make()
    teacher, student, layer_map, _ = pair(kind)
    if case in ("vocabulary", "DistilBERT"):
        batch = with_labels(batch)
    expected = plain_terms(student, teacher, layer_map, batch, losses)
    expected = {name: value for name, value in expected.items() if float(getattr(losses, f"{name}_weight"))}
    total = sum(float(getattr(losses, f"{name}_weight")) * value.mean() for name, value in expected.items())
    wanted = gradients(student, total)
    terms = Distiller(student, teacher, layer_map, losses)(student, batch)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value.detach(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(terms.total, total.detach(), rtol=1e-5, atol=1e-7)
    found = gradients(student, terms.total)
    scale = max(float(g.abs().max()) for g in wanted.values())
    for name, parameter in student.named_parameters():
        zero = torch.zeros_like(parameter)
        torch.testing.assert_close(found.get(name, zero), wanted.get(name, zero), rtol=1e-4, atol=1e-6 * scale)
    assert scale > 1e-3


def test_an_explicit_layer_map_is_followed() -> None:
    teacher, student, layer_map, _ = pair(layer_map=[0, 4])
    assert layer_map == [0, 4]
    terms = Distiller(student, teacher, layer_map)(student, padded())
    expected = plain_terms(student, teacher, layer_map, padded(), LossArguments())
    other = plain_terms(student, teacher, [1, 4], padded(), LossArguments())
    torch.testing.assert_close(terms["hidden"], expected["hidden"])
    torch.testing.assert_close(terms["attention"], expected["attention"])
    assert not torch.allclose(other["hidden"], expected["hidden"])


@pytest.mark.parametrize("align", ["all", "last"])
def test_a_narrower_student_is_compared_with_projected_states(align: str) -> None:
    teacher, student, layer_map, projections = pair(reduction=2)
    losses = LossArguments(align_layers=align)
    terms = Distiller(student, teacher, layer_map, losses, projections)(student, padded())
    expected = plain_terms(student, teacher, layer_map, padded(), losses, projections)
    torch.testing.assert_close(terms["hidden"], expected["hidden"])
    torch.testing.assert_close(terms["attention"], expected["attention"])


def test_a_student_that_is_its_teacher_has_no_loss() -> None:
    teacher = tiny_teacher("xlm-roberta")
    student = copy.deepcopy(teacher)
    terms = Distiller(student, teacher, range(6), LossArguments(logit_weight="1"))(student, with_labels(padded()))
    assert terms.total < 1e-9


@pytest.mark.parametrize(("progress", "weights"), [(0.0, (1, 0)), (0.25, (0.75, 0.5)), (1.0, (0, 2))])
def test_scheduled_weights_change_over_the_run(progress: float, weights: tuple[float, float]) -> None:
    teacher, student, layer_map, _ = pair()
    losses = LossArguments(hidden_weight="1:0", attention_weight="0:2")
    terms = Distiller(student, teacher, layer_map, losses)(student, padded(), progress)
    torch.testing.assert_close(
        terms.total, weights[0] * terms["hidden"].mean() + weights[1] * terms["attention"].mean()
    )


def test_weights_that_are_all_0_are_refused() -> None:
    teacher, student, layer_map, _ = pair()
    with pytest.raises(InputError, match="all loss weights are 0"):
        Distiller(student, teacher, layer_map, LossArguments(hidden_weight="0", attention_weight="0"))


def test_a_batch_without_masked_tokens_has_logit_losses_of_0() -> None:
    teacher, student, layer_map, _ = pair()
    losses = LossArguments(hidden_weight="0", attention_weight="0", logit_weight="1", mlm_weight="1")
    batch = {**packed(), "labels": torch.full((4, 12), -100)}
    terms = Distiller(student, teacher, layer_map, losses)(student, batch)
    assert terms.total == 0
    assert all(not g.any() for g in gradients(student, terms.total).values())


def test_the_teacher_is_frozen_in_eval_mode_and_gets_no_gradient() -> None:
    teacher, student, layer_map, _ = pair(hidden_dropout_prob=0.5)
    teacher.train().requires_grad_(True)
    distiller = Distiller(student, teacher, layer_map, LossArguments(logit_weight="1", mlm_weight="1"))
    first = distiller(student, with_labels(padded()))
    teacher.train()
    second = distiller(student, with_labels(padded()))
    assert torch.equal(first.total, second.total)  # no dropout, although the teacher is in train mode
    second.total.backward()
    assert not teacher.training
    assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())


def test_exactly_the_parameters_no_loss_reaches_are_frozen() -> None:
    for losses in (
        LossArguments(),
        LossArguments(attention_weight="0"),
        LossArguments(hidden_weight="0"),
        LossArguments(align_layers="last"),
        LossArguments(mlm_weight="1"),
        LossArguments(hidden_weight="0", attention_weight="0", logit_weight="1"),
        LossArguments(hidden_weight="0", attention_weight="0", relation_weight="1"),
    ):
        for kind, tied in itertools.product(OBSERVABLE if losses.hidden_weight == "0" else KINDS, (True, False)):
            teacher, student, layer_map, _ = pair(kind, tie_word_embeddings=tied)
            distiller = Distiller(student, teacher, layer_map, losses)
            trainable = {name for name, p in student.named_parameters() if p.requires_grad}
            assert student.get_input_embeddings().weight.requires_grad
            student.requires_grad_(True)  # else what is frozen in error would not be reached
            reached = set(gradients(student, distiller(student, with_labels(padded())).total))
            assert reached == trainable, (kind, tied, losses)
            without_head = not float(losses.mlm_weight) + float(losses.logit_weight)
            inside = {id(p) for p in student.base_model.parameters()}  # by identity: a tied weight has two names
            outside = {name for name, p in student.named_parameters() if id(p) not in inside}
            assert bool(outside & trainable) == (bool(outside) and not without_head)


def test_the_head_does_not_run_when_no_loss_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, student, layer_map, _ = pair()
    sizes: list[int] = []
    original = nn.functional.linear

    def counting(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        sizes.append(weight.shape[0])
        return original(x, weight, bias)

    monkeypatch.setattr(nn.functional, "linear", counting)
    Distiller(student, teacher, layer_map)(student, padded())
    assert sizes
    assert VOCABULARY not in sizes


def test_models_give_ordinary_logits_again_after_a_step_and_after_a_failed_one() -> None:
    teacher, student, layer_map, _ = pair()
    before = [model(**padded()).logits for model in (student, teacher)]
    distiller = Distiller(student, teacher, layer_map, LossArguments(mlm_weight="1", logit_weight="1"))
    distiller(student, with_labels(padded())).total.backward()
    with pytest.raises(IndexError):
        distiller(student, {**with_labels(padded()), "input_ids": torch.full((4, 12), 10**6)})
    after = [model(**padded()).logits for model in (student, teacher)]
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)


def test_the_cosine_is_measured_in_evaluation_only_and_leaves_the_sum_alone() -> None:
    teacher, student, layer_map, _ = pair()
    distiller, batch = Distiller(student, teacher, layer_map), padded()
    training = distiller(student, batch)
    with torch.no_grad():
        evaluation = distiller(student, batch)
        ours, theirs = eager(student, batch).hidden_states, eager(teacher, batch).hidden_states
    assert "cosine" not in training.values
    assert "cosine_0" in evaluation.scalars()
    torch.testing.assert_close(evaluation.total, training.total.detach())
    real = batch["attention_mask"].bool()
    pairs = zip(ours, [theirs[0], *(theirs[layer + 1] for layer in layer_map)])
    expected = torch.stack([nn.functional.cosine_similarity(s, t, dim=-1)[real].mean() for s, t in pairs])
    torch.testing.assert_close(evaluation["cosine"], expected)


def test_scalars_name_every_layer_of_every_term() -> None:
    teacher, student, layer_map, _ = pair()
    scalars = Distiller(student, teacher, layer_map, CASES["vocabulary"])(student, with_labels(padded())).scalars()
    layers = {f"hidden_{i}" for i in range(4)} | {f"attention_{i}" for i in range(3)}
    assert set(scalars) == {"loss", "hidden", "attention", "logit", "mlm"} | layers
    assert not any(value.requires_grad for value in scalars.values())


@pytest.mark.parametrize("case", ["as published", "vocabulary"])
def test_gradient_checkpointing_gives_the_same_gradients(case: str) -> None:
    teacher, student, layer_map, _ = pair()
    distiller, batch = Distiller(student, teacher, layer_map, CASES[case]), with_labels(padded())
    whole = gradients(student, distiller(student, batch).total)
    student.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    assert student.is_gradient_checkpointing
    torch.testing.assert_close(gradients(student, distiller(student, batch).total), whole)


def test_checkpointing_that_would_lose_the_attention_gradient_is_refused() -> None:
    teacher, student, layer_map, _ = pair()
    distiller = Distiller(student, teacher, layer_map)
    student.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    with pytest.raises(InputError, match="use_reentrant"):
        distiller(student, padded())


def test_nothing_of_the_teacher_outlives_the_step() -> None:
    teacher, student, layer_map, _ = pair()
    distiller = Distiller(student, teacher, layer_map, CASES["vocabulary"])
    seen: list[weakref.ref[Tensor]] = []
    view = distiller.teacher_view

    def watched(*arguments):  # type: ignore[no-untyped-def]
        found = view(*arguments)
        seen.extend(weakref.ref(x) for x in (*found.hidden, found.vocabulary[0], *found.taken.queries_keys[0]))
        return found

    distiller.teacher_view = watched  # type: ignore[method-assign]
    terms = distiller(student, with_labels(padded()))
    gc.collect()
    assert len(seen) == 7
    assert not any(ref() is not None for ref in seen)
    terms.total.backward()


def test_autocast_and_a_bfloat16_teacher_come_close_to_fp32() -> None:
    teacher, student, layer_map, _ = pair()
    batch = with_labels(padded())
    exact = Distiller(student, teacher, layer_map, CASES["vocabulary"])(student, batch)
    distiller = Distiller(student, teacher.bfloat16(), layer_map, CASES["vocabulary"])
    with torch.autocast("cpu", torch.bfloat16):
        close = distiller(student, batch)
    close.total.backward()
    assert close.total.dtype == torch.float32
    for name in ("hidden", "attention", "logit", "mlm"):
        torch.testing.assert_close(close[name].mean(), exact[name].mean(), rtol=0.1, atol=5e-3)
