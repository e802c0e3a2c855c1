"""Test that every term of the loss is the published formula and that its gradient reaches the right tensors only.

The reference runs eager attention, materialises every map, and picks out the real positions of each sequence.
"""

from __future__ import annotations

import copy
import gc
import itertools
import weakref
from collections.abc import Sequence

import pytest
import torch
from student_models import KINDS, VOCABULARY, tiny_batches, tiny_teacher
from torch import Tensor, nn
from transformers import PreTrainedModel

from bistil_ds.distillation.arguments import LossArguments
from bistil_ds.distillation.distiller import Distiller
from bistil_ds.errors import InputError
from bistil_ds.models.families import FAMILIES
from bistil_ds.student import build_student

Batch = dict[str, Tensor]


def pair(kind: str = "xlm-roberta", layer_map: Sequence[int] | None = None, reduction: int = 1, **changes: object):
    """Return a teacher, a student with weights moved away from the teacher's, the layer map and the projections."""
    teacher = tiny_teacher(kind, **changes)
    sample = tiny_batches(5, 4) if reduction > 1 else None
    built = build_student(
        teacher, layer_map=layer_map, hidden_reduction_factor=reduction, sample_batches=sample, progress=False
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in built.student.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return teacher, built.student.train(), built.layer_map, built.projections


def padded(seed: int = 3) -> Batch:
    return next(tiny_batches(seed, 1))


def packed(seed: int = 3) -> Batch:
    return {"input_ids": torch.randint(5, VOCABULARY, (4, 12), generator=torch.Generator().manual_seed(seed))}


def with_labels(batch: Batch) -> Batch:
    chosen = torch.rand(batch["input_ids"].shape, generator=torch.Generator().manual_seed(0)) < 0.3
    if "attention_mask" in batch:
        chosen &= batch["attention_mask"].bool()
    return {**batch, "labels": torch.where(chosen, batch["input_ids"], -100)}


def eager(model: PreTrainedModel, batch: Batch):
    """Run the model with eager attention and return maps and states too; restore its attention afterwards."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    inputs = {k: v for k, v in batch.items() if k != "labels"}
    try:
        return model(**inputs, output_hidden_states=True, output_attentions=True)
    finally:
        model.set_attn_implementation(before)


def plain_terms(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    layer_map: Sequence[int],
    batch: Batch,
    losses: LossArguments,
    projections: Sequence[Tensor] | None = None,
) -> dict[str, Tensor]:
    with torch.no_grad():
        theirs = eager(teacher, batch)
    ours = eager(student, batch)
    mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
    everything = torch.ones_like(mask)
    counted = everything if losses.published_losses else mask
    hidden, attention = [], []
    for i, state in enumerate(ours.hidden_states):
        target = theirs.hidden_states[0 if i == 0 else layer_map[i - 1] + 1]
        if projections is not None:
            target = target @ projections[i]
        hidden.append(((state - target)[counted] ** 2).mean())
    for i, map_s in enumerate(ours.attentions):
        map_t, values, rows = theirs.attentions[layer_map[i]], [], []
        for b in range(len(mask)):
            s, t = map_s[b][:, counted[b]][..., mask[b]], map_t[b][:, counted[b]][..., mask[b]]
            values.append((s - t).pow(2).flatten())
            rows.append((t * (t.log() - s.log())).sum(-1).flatten())
        attention.append(torch.cat(values if losses.attention_loss == "mse" else rows).mean())
    if losses.align_layers == "last":
        hidden, attention = hidden[-1:], attention[-1:]
    terms = {"hidden": torch.stack(hidden), "attention": torch.stack(attention)}
    if "labels" in batch:
        chosen = batch["labels"] != -100
        logits_s, logits_t = ours.logits[chosen], theirs.logits[chosen]
        p_t = (logits_t / losses.temperature).softmax(-1)
        log_s = (logits_s / losses.temperature).log_softmax(-1)
        terms["logit"] = (p_t * (p_t.log() - log_s)).sum(-1).mean()
        terms["mlm"] = -logits_s.log_softmax(-1).gather(1, batch["labels"][chosen][:, None]).mean()
    return terms


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


CASES = {
    "as published": LossArguments(),
    "kl": LossArguments(attention_loss="kl"),
    "last": LossArguments(align_layers="last"),
    "published padding": LossArguments(published_losses=True),
    "weights": LossArguments(hidden_weight="0.5", attention_weight="3"),
    "vocabulary": LossArguments(hidden_weight="0.3", attention_weight="2", logit_weight="0.7", mlm_weight="0.2"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [padded, packed])
@pytest.mark.parametrize("case", CASES)
def test_terms_and_gradients_are_those_of_the_plain_way(kind: str, make, case: str) -> None:
    losses, batch = CASES[case], make()
    teacher, student, layer_map, _ = pair(kind)
    if case == "vocabulary":
        batch = with_labels(batch)
    expected = plain_terms(student, teacher, layer_map, batch, losses)
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
    ):
        for kind, tied in itertools.product(KINDS, (True, False)):
            teacher, student, layer_map, _ = pair(kind, tie_word_embeddings=tied)
            distiller = Distiller(student, teacher, layer_map, losses)
            trainable = {name for name, p in student.named_parameters() if p.requires_grad}
            assert student.get_input_embeddings().weight.requires_grad
            student.requires_grad_(True)  # else what is frozen in error would not be reached
            reached = set(gradients(student, distiller(student, with_labels(padded())).total))
            assert reached == trainable, (kind, tied, losses)
            without_head = not float(losses.mlm_weight) + float(losses.logit_weight)
            assert without_head != any(not n.startswith(f"{FAMILIES[kind].encoder}.") for n in trainable)


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
        seen.extend(weakref.ref(x) for x in (*found.hidden, found.vocabulary[0], *found.queries_keys[0]))
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
