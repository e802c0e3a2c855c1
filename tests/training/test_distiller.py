"""Test what the distillers of both phases do with attention: windows, grouped keys, and models that hide it."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from student_models import tiny_batches, tiny_teacher
from torch import Tensor
from transformers import AutoModelForTokenClassification, PreTrainedModel

from bistil_ds.distillation.arguments import LossArguments
from bistil_ds.distillation.distiller import Distiller
from bistil_ds.errors import InputError, Notice
from bistil_ds.tasks import find_task
from bistil_ds.training.distiller import BaseDistiller
from bistil_ds.tuning.arguments import TaskLossArguments
from bistil_ds.tuning.distiller import TaskDistiller

SLIDING = {"local_attention": 4}  # a window of 2 tokens on either side
GROUPED = {"num_key_value_heads": 2}


def pair(kind: str, **changes: object) -> tuple[PreTrainedModel, PreTrainedModel]:
    """Return a student of 3 layers and a teacher of 6, with other weights."""
    student = tiny_teacher(kind, 3, **changes)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(0.8)
    return student, tiny_teacher(kind, 6, **changes)


@torch.no_grad()
def whole_maps(model: PreTrainedModel, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    maps = model(**batch, output_attentions=True).attentions
    model.set_attn_implementation(before)
    return maps


@pytest.mark.parametrize(
    ("kind", "changes", "layer_map", "windows"),
    [("modernbert", SLIDING, [0, 1, 5], [None, 2, 2]), ("eurobert", GROUPED, [1, 3, 5], [None] * 3)],
)
def test_each_pair_of_maps_is_compared_where_its_tokens_attend(
    kind: str, changes: dict[str, object], layer_map: list[int], windows: list[int | None]
) -> None:
    (student, teacher), batch = pair(kind, **changes), next(tiny_batches(0))
    real, token = batch["attention_mask"].bool(), torch.arange(12)
    distances = (token[:, None] - token).abs()
    ours, theirs = whole_maps(student, batch), whole_maps(teacher, batch)
    expected = []
    for i, window in enumerate(windows):
        counted = real[:, None, :, None] & real[:, None, None] & (distances <= (12 if window is None else window))
        expected.append((ours[i] - theirs[layer_map[i]]).square()[counted.expand_as(ours[i])].mean())
    distiller = Distiller(student, teacher, layer_map)
    assert distiller.windows == windows
    terms = distiller(student, batch)
    torch.testing.assert_close(terms["attention"].detach(), torch.stack(expected))
    terms.total.backward()
    assert all(p.grad is not None for name, p in student.named_parameters() if "layers." in name)


def test_layers_of_different_windows_are_not_aligned() -> None:
    student, teacher = pair("modernbert", **SLIDING)
    with pytest.raises(
        InputError, match=r"student layer 1 sees 2 tokens on either side, its teacher layer 3 all tokens"
    ):
        Distiller(student, teacher, [0, 3, 5])
    Distiller(student, teacher, [0, 3, 5], LossArguments(attention_weight="0"))


def phase_1(**weights: str) -> BaseDistiller:
    return Distiller(*pair("deberta-v2"), [1, 3, 5], LossArguments(**weights))


def phase_2(**weights: str) -> BaseDistiller:
    task = find_task("ner")
    models = (tiny_teacher("deberta-v2", n, auto=AutoModelForTokenClassification) for n in (3, 6))
    return TaskDistiller(*models, task, [1, 3, 5], TaskLossArguments(**weights))


@pytest.mark.parametrize("make", [phase_1, phase_2])
def test_where_attention_is_hidden_the_attention_loss_is_left_out_and_this_is_said(
    make: Callable[..., BaseDistiller],
) -> None:
    with pytest.warns(Notice, match="a deberta-v2 model does not show its attention: the attention loss is left out"):
        distiller = make()
    assert not distiller.uses("attention")
    assert distiller.uses("hidden")


@pytest.mark.parametrize("make", [phase_1, phase_2])
def test_an_attention_loss_that_was_asked_for_is_refused_where_attention_is_hidden(
    make: Callable[..., BaseDistiller],
) -> None:
    with pytest.raises(InputError, match="--attention_weight 2:0: a deberta-v2 model does not show its attention"):
        make(attention_weight="2:0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not make(attention_weight="0").uses("attention")


def test_hidden_attention_must_not_be_the_only_loss() -> None:
    with pytest.raises(InputError, match="all other loss weights are 0"):
        phase_1(hidden_weight="0")


def test_phase_1_without_maps_trains_on_hidden_states() -> None:
    student, teacher = pair("deberta-v2")
    with pytest.warns(Notice):
        distiller = Distiller(student, teacher, [1, 3, 5])
    terms = distiller(student, next(tiny_batches(0)))
    assert set(terms.values) == {"hidden"}
    terms.total.backward()
