"""Test phase 2's loss against the same loss written out in plain PyTorch."""

from __future__ import annotations

import pytest
import torch
from tiny import write_teacher
from torch import Tensor
from transformers import DebertaV2Config, DebertaV2ForTokenClassification, PreTrainedModel

from bistil_ds.errors import InputError, Notice
from bistil_ds.tasks import Task, find_task
from bistil_ds.tuning.arguments import TaskLossArguments
from bistil_ds.tuning.distiller import TaskDistiller

LABELS = ("O", "B-PER", "I-PER")
MAP = [1, 3]  # for a student of two layers and a teacher of four


@pytest.fixture(scope="module")
def ner() -> Task:
    return find_task("ner")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, ner: Task) -> tuple[PreTrainedModel, PreTrainedModel]:
    """Return a student and a teacher with different new heads."""
    found = []
    for seed, layers in enumerate((2, 4)):
        folder = write_teacher(tmp_path_factory.mktemp(f"layers{layers}"), layers=layers, seed=seed)
        torch.manual_seed(seed)
        found.append(ner.load_model(folder, LABELS))
    return found[0], found[1]


@pytest.fixture
def batch(ner: Task) -> dict[str, Tensor]:
    rows = [
        {"input_ids": [0, 20, 21, 22, 23, 2], "labels": [-100, 1, 2, -100, 0, -100], "example": 0},
        {"input_ids": [0, 30, 31, 2], "labels": [-100, 0, 1, -100], "example": 1},
    ]
    return ner.collate(rows, 1)


def states_and_maps(model: PreTrainedModel, batch: dict[str, Tensor]) -> tuple[Tensor, ...]:
    model.set_attn_implementation("eager")
    out = model(**batch, output_hidden_states=True, output_attentions=True)
    return out.hidden_states, out.attentions, out.logits, out.loss


def written_out(student: PreTrainedModel, teacher: PreTrainedModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the mean of every term from maps in memory; padding counts neither as query nor as key."""
    ours, our_maps, our_logits, loss = states_and_maps(student, batch)
    with torch.no_grad():
        theirs, their_maps, their_logits, _ = states_and_maps(teacher, batch)
    real = batch["attention_mask"].bool()
    hidden = [((ours[i] - theirs[j])[real] ** 2).mean() for i, j in zip((0, 1, 2), (0, 2, 4))]
    pairs = (real[:, None, :, None] & real[:, None, None, :]).expand_as(our_maps[0])
    maps = [((our_maps[i] - their_maps[j])[pairs] ** 2).mean() for i, j in enumerate(MAP)]
    known = batch["labels"] != -100
    p, q = (their_logits[known] / 2).softmax(-1), (our_logits[known] / 2).log_softmax(-1)
    kl = (p * (p.log() - q)).sum(-1).mean()
    return {"hidden": torch.stack(hidden).mean(), "attention": torch.stack(maps).mean(), "logit": kl, "label": loss}


def test_terms_and_gradients_are_those_of_plain_pytorch(
    ner: Task, models: tuple[PreTrainedModel, PreTrainedModel], batch: dict[str, Tensor]
) -> None:
    student, teacher = models
    losses = TaskLossArguments(hidden_weight="1", attention_weight="3", logit_weight="2", label_weight="0.5")
    distiller = TaskDistiller(student, teacher, ner, MAP, losses)
    terms = distiller(student, batch)
    found = torch.autograd.grad(terms.total, list(student.parameters()), allow_unused=True)
    named = terms.scalars()

    expected = written_out(student, teacher, batch)
    total = expected["hidden"] + 3 * expected["attention"] + 2 * expected["logit"] + 0.5 * expected["label"]
    gradients = torch.autograd.grad(total, list(student.parameters()), allow_unused=True)
    for name, value in expected.items():
        torch.testing.assert_close(named[name], value.detach(), rtol=1e-5, atol=1e-7)
    for one, other in zip(found, gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_padding_changes_no_term(
    ner: Task, models: tuple[PreTrainedModel, PreTrainedModel], batch: dict[str, Tensor]
) -> None:
    student, teacher = models
    distiller = TaskDistiller(student, teacher, ner, MAP)
    short = distiller(student, batch).scalars()
    wide = {
        k: torch.nn.functional.pad(v, (0, 3), value={"input_ids": 1, "labels": -100}.get(k, 0))
        for k, v in batch.items()
    }
    long = distiller(student, wide).scalars()
    for name, value in short.items():
        torch.testing.assert_close(long[name], value, rtol=1e-5, atol=1e-7)


def test_the_teacher_gets_no_gradient_and_stays_in_evaluation_mode(
    ner: Task, models: tuple[PreTrainedModel, PreTrainedModel], batch: dict[str, Tensor]
) -> None:
    student, teacher = models
    TaskDistiller(student, teacher, ner, MAP)(student, batch).total.backward()
    assert not teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())
    student.zero_grad()


def test_no_weight_at_all_is_refused(ner: Task, models: tuple[PreTrainedModel, PreTrainedModel]) -> None:
    none = TaskLossArguments(hidden_weight="0", attention_weight="0", logit_weight="0")
    with pytest.raises(InputError, match="all loss weights are 0"):
        TaskDistiller(*models, ner, MAP, none)


def test_a_head_that_nothing_trains_is_refused(ner: Task, models: tuple[PreTrainedModel, PreTrainedModel]) -> None:
    layers_only = TaskLossArguments(logit_weight="0", label_weight="0")
    with pytest.raises(InputError, match="give logit_weight or label_weight a weight") as error:
        TaskDistiller(*models, ner, MAP, layers_only)
    assert "\n" not in str(error.value)
    for some in ({"logit_weight": "0:1"}, {"logit_weight": "0", "label_weight": "1"}):
        TaskDistiller(*models, ner, MAP, TaskLossArguments(**some))
    # no logit loss needed: the head is the base model's and is not trained
    TaskDistiller(*models, find_task("mlm"), MAP, layers_only)


def test_a_model_that_hides_its_attention_learns_from_the_other_losses(ner: Task, batch: dict[str, Tensor]) -> None:
    sizes = {"vocab_size": 60, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_labels": 3}
    student, teacher = (
        DebertaV2ForTokenClassification(DebertaV2Config(num_hidden_layers=layers, pad_token_id=1, **sizes))
        for layers in (2, 4)
    )
    with pytest.warns(Notice, match="the attention loss is left out"):
        terms = TaskDistiller(student, teacher, ner, MAP)(student, batch)
    assert "attention" not in terms.values
    terms.total.backward()
    assert all(p.grad is not None for p in student.parameters())
