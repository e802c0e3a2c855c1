"""Test students made of a teacher's layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from student_models import FROM_LAYER_0, KINDS, tiny_batches, tiny_teacher
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

from bistil_ds.errors import InputError
from bistil_ds.models.families import FAMILIES, family_of, layers_of
from bistil_ds.student import build_student


def cut_to(teacher, layers):
    """Cut the teacher to the given layers, in place, and return it."""
    place, _, name = family_of(teacher).layers.rpartition(".")
    every = layers_of(teacher)
    setattr(teacher.get_submodule(place), name, torch.nn.ModuleList(every[i] for i in layers))
    return teacher


@pytest.mark.parametrize("auto", [AutoModelForMaskedLM, AutoModel], ids=["with head", "without"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("factor", "expected"), [(1, [0, 1, 2, 3, 4, 5]), (2, [1, 3, 5]), (3, [2, 5])])
def test_a_student_computes_what_every_kth_teacher_layer_computes(kind, factor, expected, auto):
    teacher = tiny_teacher(kind, auto=auto)
    built = build_student(teacher, layer_reduction_factor=factor)
    if kind in FROM_LAYER_0:
        expected = {1: expected, 2: [0, 3, 5], 3: [0, 5]}[factor]
    assert built.layer_map == expected
    assert built.projections is None
    assert type(built.student) is type(teacher)
    batch = next(tiny_batches(seed=1))
    assert torch.equal(built.student(**batch)[0], cut_to(teacher, expected)(**batch)[0])


def test_an_explicit_layer_map_is_followed():
    teacher = tiny_teacher("bert")
    built = build_student(teacher, layer_map=[0, 4])
    batch = next(tiny_batches(seed=1))
    assert built.layer_map == [0, 4]
    assert torch.equal(built.student(**batch).logits, cut_to(teacher, [0, 4])(**batch).logits)


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_has_no_dropout_and_otherwise_the_configuration_of_the_teacher(kind):
    teacher = tiny_teacher(kind, classifier_dropout=0.3)
    student = build_student(teacher).student
    ours, theirs = student.config.to_dict(), teacher.config.to_dict()
    changed = {name for name in theirs if ours[name] != theirs[name]}
    dropouts = {name for name, value in theirs.items() if "dropout" in name and value}
    # a model made in memory has no dtype in its configuration
    assert changed - {"dtype"} == {"num_hidden_layers", *dropouts, *FAMILIES[kind].per_layer}
    assert "classifier_dropout" in dropouts
    assert all(ours[name] == 0 for name in dropouts)
    student.train()
    assert all(module.p == 0 for module in student.modules() if isinstance(module, torch.nn.Dropout))
    assert teacher.config.classifier_dropout == 0.3


def test_training_the_student_leaves_the_teacher_as_it_was():
    teacher = tiny_teacher("xlm-roberta")
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    student = build_student(teacher).student
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


def test_a_student_of_a_frozen_teacher_can_be_trained_and_keeps_its_tied_embeddings():
    teacher = tiny_teacher("bert").requires_grad_(False)
    student = build_student(teacher).student
    assert all(parameter.requires_grad for parameter in student.parameters())
    assert student.get_output_embeddings().weight is student.get_input_embeddings().weight


def test_untied_embeddings_stay_untied():
    teacher = tiny_teacher("bert", tie_word_embeddings=False)
    student = build_student(teacher).student
    assert torch.equal(student.get_output_embeddings().weight, teacher.get_output_embeddings().weight)
    assert not torch.equal(student.get_output_embeddings().weight, student.get_input_embeddings().weight)


def test_a_student_has_the_dtype_of_the_teacher_and_draws_nothing_at_random():
    before = torch.random.get_rng_state()
    student = build_student(tiny_teacher("bert").to(torch.bfloat16)).student
    assert {parameter.dtype for parameter in student.parameters()} == {torch.bfloat16}
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_student_loads_with_transformers_alone_and_gives_identical_outputs(kind, tmp_path):
    student = build_student(tiny_teacher(kind)).student
    student.save_pretrained(tmp_path)
    batch = next(tiny_batches(seed=2))
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).num_hidden_layers == 3
    assert torch.equal(loaded(**batch).logits, student(**batch).logits)


@pytest.mark.parametrize("factor", [2, 3])
def test_students_of_a_real_teacher_start_from_its_layers(shared: Path, factor, tmp_path):
    teacher = AutoModelForMaskedLM.from_pretrained(shared / "models" / "mini-mmt")
    student = build_student(teacher, layer_reduction_factor=factor).student
    student.save_pretrained(tmp_path)
    batch = {"input_ids": torch.arange(5, 45).view(2, 20)}
    expected = cut_to(teacher, range(factor - 1, 6, factor))(**batch).logits
    assert torch.equal(AutoModelForMaskedLM.from_pretrained(tmp_path)(**batch).logits, expected)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"layer_reduction_factor": 7}, "7: expected 1 to 6, the teacher's number of layers"),
        ({"layer_reduction_factor": 0}, "0: expected 1 to 6"),
        ({"layer_map": []}, "layer map is empty"),
        ({"layer_map": [1, 6]}, "use indices from 0 to 5"),
        ({"layer_map": [-1, 2]}, "use indices from 0 to 5"),
        ({"layer_map": [3, 3]}, "not strictly increasing"),
    ],
)
def test_layers_that_cannot_be_chosen_are_refused_in_one_line(arguments, says):
    with pytest.raises(InputError, match=says) as refusal:
        build_student(tiny_teacher("bert"), **arguments)
    assert "\n" not in str(refusal.value)


def test_other_architectures_are_refused_by_name():
    distilbert = DistilBertForMaskedLM(DistilBertConfig(vocab_size=20, dim=8, n_layers=2, n_heads=2, hidden_dim=8))
    with pytest.raises(InputError, match="'distilbert'") as refusal:
        build_student(distilbert)
    assert set(str(refusal.value).partition("give one of ")[2].split(", ")) == set(KINDS)
