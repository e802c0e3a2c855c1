"""Test the reference of the hidden-state loss."""

from __future__ import annotations

import pytest
import torch
from bistil_kernels import hidden_state_loss
from kernel_cases.exactness import ALLOWANCE, MASKS, assert_as_exact_as_plain, draw_mask
from kernel_cases.hidden_state import (  # noqa: F401
    P,
    plain,
    test_a_second_backward_through_a_kept_graph_gives_the_same_gradient,
    test_a_zero_state_has_cosine_zero_and_a_finite_gradient,
    test_an_upstream_gradient_told_beforehand_changes_no_gradient,
    test_gradients_add_up_over_several_passes_as_torchs_do,
    test_padding_may_hold_garbage,
)
from torch import Tensor
from torch.nn import functional as F


@pytest.mark.parametrize("kind", ["mse", "cosine"])
@pytest.mark.parametrize("mask_name", MASKS)
@pytest.mark.parametrize("dtype", ALLOWANCE)
@pytest.mark.parametrize("projected", [False, True])
def test_is_as_exact_as_torchs_own_loss_over_the_real_tokens(
    kind: str, mask_name: str, dtype: torch.dtype, projected: bool
) -> None:
    torch.manual_seed(0)
    B, T, Ds, Dt = 3, 7, 5, 9 if projected else 5
    projections = [torch.randn(Dt, Ds) / 3 for _ in range(P)] if projected else None
    student = [torch.randn(B, Ds, T, dtype=dtype).transpose(1, 2) for _ in range(P)]
    teacher = [torch.randn(B, T, 2 * Dt, dtype=dtype)[..., ::2] for _ in range(P)]
    mask = draw_mask(mask_name, B, T)
    assert_as_exact_as_plain(
        lambda x: hidden_state_loss(x[:P], x[P:], mask, projections, kind),
        lambda x: plain(x, mask, kind, projections),
        [*student, *teacher],
        trained=P,
    )


def test_a_mean_over_millions_of_values_keeps_its_digits() -> None:
    student, teacher = torch.randn(8, 512, 768), torch.randn(8, 512, 768)
    exact = F.mse_loss(student.double(), teacher.double())
    assert abs(hidden_state_loss([student], [teacher], None).double() - exact) < 1e-6 * exact


@pytest.mark.parametrize("kind", ["mse", "cosine"])
def test_passes_gradcheck(kind: str) -> None:
    mask = draw_mask("holes", 2, 4)
    teacher = torch.randn(2, 4, 3, dtype=torch.float64)
    student = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: hidden_state_loss([s], [teacher], mask, None, kind), (student,))


def test_no_pairs_give_no_values() -> None:
    assert hidden_state_loss([], [], None).shape == (0,)


@pytest.mark.parametrize(
    ("teacher_shape", "mask", "kind"),
    [
        ((1, 2, 4), None, "mse"),
        ((1, 2, 3), torch.ones(1, 2), "mse"),
        ((1, 2, 3), torch.ones(2, 1, dtype=torch.bool), "mse"),
        ((1, 2, 3), None, "mae"),
    ],
)
def test_what_does_not_fit_is_refused(teacher_shape: tuple[int, ...], mask: Tensor | None, kind: str) -> None:
    with pytest.raises(ValueError, match="hidden_state_loss"):
        hidden_state_loss([torch.ones(1, 2, 3)], [torch.ones(teacher_shape)], mask, kind=kind)


def test_a_projection_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pair 0: projection \[3, 2\], expected \[4, student's width\]"):
        hidden_state_loss([torch.ones(1, 2, 2)], [torch.ones(1, 2, 4)], None, projections=[torch.ones(3, 2)])


def test_tensors_of_several_devices_are_refused() -> None:
    x, far = torch.ones(1, 2, 3), torch.ones(1, 2, 3, device="meta")
    mask = torch.ones(1, 2, dtype=torch.bool, device="meta")
    with pytest.raises(ValueError, match="hidden_state_loss: mask is on meta, expected cpu"):
        hidden_state_loss([x], [x], mask)
    with pytest.raises(ValueError, match="hidden_state_loss: projection 0 is on meta, expected cpu"):
        hidden_state_loss([x], [x], None, [torch.ones(3, 3, device="meta")])
    with pytest.raises(ValueError, match=r"pair 1 on .*meta"):
        hidden_state_loss([x, x], [x, far], None)
