"""Test the checks of a student that the user brings."""

from __future__ import annotations

import pytest
import torch
from student_models import tiny_batches, tiny_teacher

from bistil_ds.errors import InputError
from bistil_ds.student import build_student, check_student


@pytest.fixture(scope="module")
def teacher():
    return tiny_teacher("bert")


@pytest.mark.parametrize(("layers", "expected"), [(6, [0, 1, 2, 3, 4, 5]), (3, [1, 3, 5]), (2, [2, 5]), (1, [5])])
def test_a_fitting_student_follows_every_kth_teacher_layer(teacher, layers, expected):
    assert check_student(tiny_teacher("bert", layers=layers), teacher) == expected


def test_a_layer_map_of_the_users_own_is_kept(teacher):
    assert check_student(tiny_teacher("bert", layers=4), teacher, [0, 2, 3, 5]) == [0, 2, 3, 5]


def test_a_narrower_student_fits_with_its_projections(teacher):
    built = build_student(
        teacher, hidden_reduction_factor=2, sample_batches=tiny_batches(seed=0, batches=4), progress=False
    )
    assert check_student(built.student, teacher, built.layer_map, built.projections) == [1, 3, 5]


@pytest.mark.parametrize(
    ("changes", "layer_map", "projections", "says"),
    [
        ({"vocab_size": 50}, None, None, "50 tokens, the teacher 61"),
        ({"num_attention_heads": 2}, None, None, "2 attention heads, the teacher 4"),
        ({"layers": 7}, None, None, "7 layers, the teacher 6: give a student of at most as many"),
        ({"layers": 4}, None, None, "4 layers do not divide the teacher's 6: give a layer map of 4 layers"),
        ({"layers": 2}, [1, 3, 5], None, "names 3 layers, the student has 2"),
        ({"layers": 2}, [3, 1], None, "not strictly increasing"),
        ({"layers": 2, "hidden_size": 16}, None, None, "16 wide, the teacher 32, and the student has no projections"),
        ({"layers": 2, "hidden_size": 16}, None, [(32, 16)] * 2, "for 2 states, expected .* for 3"),
        ({"layers": 2, "hidden_size": 16}, None, [(16, 32)] * 3, "belong to another student or teacher"),
    ],
)
def test_a_student_that_does_not_fit_is_refused_in_one_line(teacher, changes, layer_map, projections, says):
    student = tiny_teacher("bert", **changes)
    matrices = None if projections is None else [torch.zeros(shape) for shape in projections]
    with pytest.raises(InputError, match=says) as refusal:
        check_student(student, teacher, layer_map, matrices)
    assert "\n" not in str(refusal.value)
