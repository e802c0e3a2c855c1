"""Test the reference of the attention-map loss."""

from __future__ import annotations

import pytest
import torch
from bistil_kernels import attention_map_loss
from bistil_kernels.attention_map import reference
from kernel_cases.attention_map import (  # noqa: F401
    call,
    plain,
    queries_keys,
    test_a_padded_batch_counts_like_its_sequences_cut_to_length,
    test_an_upstream_gradient_told_beforehand_changes_no_gradient,
    test_equal_queries_and_keys_cost_nothing,
    test_is_as_exact_where_maps_are_peaked_and_close,
    test_padding_may_hold_garbage,
    test_pairs_are_independent,
)
from kernel_cases.exactness import ALLOWANCE, MASKS, assert_as_exact_as_plain, draw_mask
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


@pytest.fixture(params=[1 << 18, 40, 1], ids=["one block", "blocks", "row by row"])
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "TILE", request.param)


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize("kind", ["mse", "kl"])
@pytest.mark.parametrize("mask_name", MASKS)
@pytest.mark.parametrize("mask_queries", [True, False])
@pytest.mark.parametrize("dtype", ALLOWANCE)
def test_is_as_exact_as_comparing_whole_maps(kind: str, mask_name: str, mask_queries: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    B, H, T = 3, 3, 7
    mask = draw_mask(mask_name, B, T)
    assert_as_exact_as_plain(
        lambda x: call(x, mask, kind, mask_queries),
        lambda x: plain(x, mask, kind, mask_queries),
        queries_keys(B, H, T, 4, 6, dtype),
        trained=2,
    )


@pytest.mark.parametrize("kind", ["mse", "kl"])
@pytest.mark.parametrize("mask_queries", [True, False])
def test_passes_gradcheck(kind: str, mask_queries: bool) -> None:
    mask = draw_mask("an empty sequence", 2, 4)
    q, k, *teacher = queries_keys(2, 2, 4, 3, 3, torch.float64)
    q.requires_grad_(), k.requires_grad_()
    assert torch.autograd.gradcheck(lambda q, k: call([q, k, *teacher], mask, kind, mask_queries), (q, k))


@pytest.mark.usefixtures("tile")
def test_autocast_changes_nothing() -> None:
    x, mask = queries_keys(2, 2, 7, 4, 4, torch.float32), draw_mask("right padding", 2, 7)
    with torch.autocast("cpu", torch.bfloat16):
        inside = call(x, mask, "mse", True)
    assert torch.equal(inside, call(x, mask, "mse", True))


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize("kind", ["mse", "kl"])
def test_padding_may_hold_garbage_however_maps_are_cut(kind: str) -> None:
    test_padding_may_hold_garbage(kind, float("nan"))


def test_no_tensor_of_a_whole_map_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            for x in out if isinstance(out, (tuple, list)) else [out]:
                self.size = max(self.size, x.numel() if isinstance(x, Tensor) else 0)
            return out

    monkeypatch.setattr(reference, "TILE", 1024)
    B, H, T, d = 2, 3, 128, 4
    q, k, *teacher = queries_keys(B, H, T, d, d, torch.float32)
    with Largest() as largest:
        call([q.requires_grad_(), k.requires_grad_(), *teacher], None, "mse", True).backward()
    assert largest.size == 2 * B * H * T * d, "more than dq and dk together"
    assert largest.size < T * T


def test_fp16_gradients_survive_a_loss_scale_beyond_fp16() -> None:
    x = queries_keys(1, 2, 64, 8, 8, torch.float16)
    q, k = x[0].requires_grad_(), x[1].requires_grad_()
    (call(x, None, "mse", True) * 2.0**20).backward()
    exact = [y.detach().double().requires_grad_(i < 2) for i, y in enumerate(x)]
    (call(exact, None, "mse", True) * 2.0**20).backward()
    for found, wanted in ((q.grad, exact[0].grad), (k.grad, exact[1].grad)):
        assert found is not None
        assert wanted is not None
        assert (found.double() - wanted).abs().max() < 2e-3 * wanted.abs().max()


@pytest.mark.parametrize(
    ("teacher_shape", "mask", "kind"),
    [
        ((1, 3, 5, 4), None, "mse"),
        ((1, 2, 5, 4), torch.ones(1, 4, dtype=torch.bool), "mse"),
        ((1, 2, 5, 4), torch.ones(1, 5), "mse"),
        ((1, 2, 5, 4), None, "mae"),
    ],
)
def test_what_does_not_fit_is_refused(teacher_shape: tuple[int, ...], mask: Tensor | None, kind: str) -> None:
    x, t = torch.ones(1, 2, 5, 4), torch.ones(teacher_shape)
    with pytest.raises(ValueError, match="attention_map_loss"):
        attention_map_loss([(x, x)], [(t, t)], mask, kind)


def test_tensors_of_several_devices_are_refused() -> None:
    x, far = torch.ones(1, 2, 5, 4), torch.ones(1, 2, 5, 4, device="meta")
    with pytest.raises(ValueError, match="attention_map_loss: mask is on meta, expected cpu"):
        attention_map_loss([(x, x)], [(x, x)], torch.ones(1, 5, dtype=torch.bool, device="meta"))
    with pytest.raises(ValueError, match=r"pair 1 on .*meta"):
        attention_map_loss([(x, x), (x, x)], [(x, x), (far, far)], None)
