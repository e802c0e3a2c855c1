"""Test the reference of the attention-map loss."""

from __future__ import annotations

import pytest
import torch
from bistil_kernels import attention_map_loss
from bistil_kernels.attention_map import blocks
from kernel_cases.attention_map import (  # noqa: F401
    FORMS,
    WINDOWED_MASKS,
    call,
    check,
    queries_keys,
    test_a_padded_batch_counts_like_its_sequences_cut_to_length,
    test_a_window_over_all_tokens_changes_no_bit,
    test_an_upstream_gradient_told_beforehand_changes_no_gradient,
    test_equal_queries_and_keys_cost_nothing,
    test_is_as_exact_where_maps_are_peaked_and_close,
    test_padding_may_hold_garbage,
    test_pairs_are_independent,
    test_pairs_keep_their_own_windows,
)
from kernel_cases.exactness import ALLOWANCE, MASKS, draw_mask
from kernel_cases.spread import spread
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@pytest.fixture(params=[1 << 18, 40, 1], ids=["one block", "blocks", "row by row"])
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "TILE", request.param)


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize("kind", ["mse", "kl"])
@pytest.mark.parametrize("mask_name", MASKS)
@pytest.mark.parametrize("mask_queries", [True, False])
@pytest.mark.parametrize("dtype", ALLOWANCE)
def test_is_as_exact_as_comparing_whole_maps(kind: str, mask_name: str, mask_queries: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    check(queries_keys(3, 3, 7, 4, 6, dtype), draw_mask(mask_name, 3, 7), kind, mask_queries)


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize(
    ("kind", "mask_name", "mask_queries", "form", "dtype"),
    spread(["mse", "kl"], WINDOWED_MASKS, [True, False], FORMS, [*ALLOWANCE], every=7),
)
def test_is_as_exact_with_windows_and_grouped_keys(
    kind: str, mask_name: str, mask_queries: bool, form: tuple[int | None, tuple[int, int]], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    window, key_heads = form
    x, mask = queries_keys(3, 4, 11, 4, 6, dtype, key_heads), draw_mask(mask_name, 3, 11)
    check(x, mask, kind, mask_queries, window)


@pytest.mark.parametrize("window", [3, 64, 90])
@pytest.mark.parametrize("mask_name", ["none given", "holes", "left padding"])
def test_is_as_exact_where_a_window_is_cut_into_blocks(mask_name: str, window: int) -> None:
    check(queries_keys(2, 2, 200, 4, 4, torch.float32, (1, 2)), draw_mask(mask_name, 2, 200), "mse", True, window)


@pytest.mark.parametrize("kind", ["mse", "kl"])
@pytest.mark.parametrize("mask_queries", [True, False])
@pytest.mark.parametrize(("window", "key_heads"), [(None, (2, 2)), (1, (1, 2))])
def test_passes_gradcheck(kind: str, mask_queries: bool, window: int | None, key_heads: tuple[int, int]) -> None:
    mask = draw_mask("an empty sequence", 2, 4)
    q, k, *teacher = queries_keys(2, 2, 4, 3, 3, torch.float64, key_heads)
    q.requires_grad_(), k.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda q, k: call([q, k, *teacher], mask, kind, mask_queries, window=window), (q, k)
    )


@pytest.mark.usefixtures("tile")
def test_autocast_changes_nothing() -> None:
    x, mask = queries_keys(2, 2, 7, 4, 4, torch.float32), draw_mask("right padding", 2, 7)
    with torch.autocast("cpu", torch.bfloat16):
        inside = call(x, mask, "mse", True)
    assert torch.equal(inside, call(x, mask, "mse", True))


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize("kind", ["mse", "kl"])
def test_padding_may_hold_garbage_however_maps_are_cut(kind: str) -> None:
    test_padding_may_hold_garbage(kind, float("nan"), 2)


class Made(TorchDispatchMode):
    """Record how many elements each new tensor has."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        self.sizes += [x.numel() for x in tree_leaves(out) if isinstance(x, Tensor)]
        return out


@pytest.mark.parametrize(("window", "key_heads"), [(None, 4), (None, 1), (8, 2)])
def test_no_tensor_of_a_whole_map_is_made(window: int | None, key_heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "TILE", 1024)
    B, H, T, d = 2, 4, 128, 4
    q, k, *teacher = queries_keys(B, H, T, d, d, torch.float32, (key_heads, key_heads))
    with Made() as made:
        call([q.requires_grad_(), k.requires_grad_(), *teacher], None, "mse", True, window=window).backward()
    assert max(made.sizes) == B * H * T * d, "more than the queries' gradient"
    assert max(made.sizes) < T * T


def test_a_window_makes_the_work_grow_with_the_length_only() -> None:
    def work(T: int) -> int:
        with Made() as made:
            call(queries_keys(1, 1, T, 2, 2, torch.float32), None, "mse", True, window=16)
        return sum(made.sizes)

    few, many = work(1024), work(4096)
    assert many < 5 * few


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


@pytest.mark.parametrize("key_shape", [(1, 3, 5, 4), (1, 0, 5, 4), (1, 8, 5, 4), (1, 2, 4, 4), (1, 2, 5, 3), (2, 5, 4)])
def test_keys_that_do_not_fit_the_queries_are_refused(key_shape: tuple[int, ...]) -> None:
    q, k = torch.ones(1, 4, 5, 4), torch.ones(key_shape)
    for pairs in ([(q, k)], [(q, q)]), ([(q, q)], [(q, k)]):
        with pytest.raises(ValueError, match="pair 0"):
            attention_map_loss(*pairs, None)


@pytest.mark.parametrize("windows", [[-1], [], [1, 1]])
def test_windows_that_do_not_fit_are_refused(windows: list[int]) -> None:
    x = torch.ones(1, 2, 5, 4)
    with pytest.raises(ValueError, match="expected 1, each at least 0 or None"):
        attention_map_loss([(x, x)], [(x, x)], None, windows=windows)


def test_tensors_of_several_devices_are_refused() -> None:
    x, far = torch.ones(1, 2, 5, 4), torch.ones(1, 2, 5, 4, device="meta")
    with pytest.raises(ValueError, match="attention_map_loss: mask is on meta, expected cpu"):
        attention_map_loss([(x, x)], [(x, x)], torch.ones(1, 5, dtype=torch.bool, device="meta"))
    with pytest.raises(ValueError, match=r"pair 1 on .*meta"):
        attention_map_loss([(x, x), (x, x)], [(x, x), (far, far)], None)
