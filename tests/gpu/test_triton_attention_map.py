"""Test the attention-map loss at real sizes on a CUDA device."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from bistil_kernels import attention_map_loss
from kernel_cases.attention_map import (  # noqa: F401
    call,
    check,
    plain,
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
from kernel_cases.exactness import ALLOWANCE, assert_as_exact_as_plain, assert_near_float64, draw_mask

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(autouse=True)
def on_cuda() -> Iterator[None]:
    """Make tensors on the device by default, and fill new memory with NaN."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    with torch.device("cuda"):
        yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("kind", ["mse", "kl"])
@pytest.mark.parametrize("size", [(8, 256), (32, 256), (64, 512)], ids=str)
@pytest.mark.parametrize("heads", [12, 16])
@pytest.mark.parametrize("dtype", ALLOWANCE)
@pytest.mark.parametrize("mask_name", ["none given", "right padding"])
def test_is_as_exact_as_comparing_whole_maps(
    kind: str, size: tuple[int, int], heads: int, dtype: torch.dtype, mask_name: str
) -> None:
    B, T = size[0] if size[1] < 512 else size[0] // 4, size[1]  # two sets of whole maps in float64 must fit into memory
    mask = draw_mask(mask_name, B, T)
    x = queries_keys(B, heads, T, 64, 64, dtype)
    # plain fp16 cannot take the loss scale that gradients of a mean over millions of entries need
    if dtype == torch.float16:
        assert_near_float64(lambda x: call(x, mask, kind, True), lambda x: plain(x, mask, kind, True), x, 2, 2.0**28)
    else:
        assert_as_exact_as_plain(lambda x: call(x, mask, kind, True), lambda x: plain(x, mask, kind, True), x, 2)


@pytest.mark.parametrize("length", [17, 65, 300])
@pytest.mark.parametrize(("mask_name", "mask_queries"), [("none given", True), ("holes", True), ("holes", False)])
def test_is_as_exact_at_any_length(length: int, mask_name: str, mask_queries: bool) -> None:
    x, mask = queries_keys(4, 3, length, 64, 64, torch.bfloat16), draw_mask(mask_name, 4, length)
    if mask is not None:
        mask[0], mask[1, length // 2 :] = False, False
    assert_as_exact_as_plain(
        lambda x: call(x, mask, "mse", mask_queries), lambda x: plain(x, mask, "mse", mask_queries), x, trained=2
    )


@pytest.mark.parametrize("kind", ["mse", "kl"])
@pytest.mark.parametrize("dtype", ALLOWANCE)
@pytest.mark.parametrize("window", [5, 64, 200])
@pytest.mark.parametrize(
    ("mask_name", "mask_queries"), [("none given", True), ("left padding", True), ("holes", False)]
)
def test_is_as_exact_with_a_window(
    kind: str, dtype: torch.dtype, window: int, mask_name: str, mask_queries: bool
) -> None:
    check(queries_keys(2, 4, 500, 64, 64, dtype, (4, 2)), draw_mask(mask_name, 2, 500), kind, mask_queries, window)


@pytest.mark.parametrize("dtype", ALLOWANCE)
@pytest.mark.parametrize("key_heads", [(1, 1), (3, 9), (9, 3)], ids=str)
@pytest.mark.parametrize("window", [None, 30])
def test_is_as_exact_with_grouped_keys(dtype: torch.dtype, key_heads: tuple[int, int], window: int | None) -> None:
    check(queries_keys(2, 9, 256, 64, 128, dtype, key_heads), draw_mask("right padding", 2, 256), "mse", True, window)


@pytest.mark.parametrize("kind", ["mse", "kl"])
@pytest.mark.parametrize("is_masked", [False, True])
def test_a_single_token_costs_next_to_nothing(kind: str, is_masked: bool) -> None:
    """Allow for the rounding of a score: a GPU subtracts a rounded maximum from products that are not rounded."""
    x, mask = queries_keys(4, 3, 1, 64, 64, torch.bfloat16), torch.arange(4)[:, None] > 0 if is_masked else None
    leaves = [y.requires_grad_() for y in x[:2]]
    value = call(x, mask, kind, True)
    for found in (value, *torch.autograd.grad(value.sum(), leaves)):
        assert found.abs().max() < 1e-6


@pytest.mark.parametrize(("width", "teacher_width"), [(80, 128), (32, 64), (160, 256)])
@pytest.mark.parametrize("dtype", ALLOWANCE)
def test_heads_may_have_any_width(width: int, teacher_width: int, dtype: torch.dtype) -> None:
    assert_as_exact_as_plain(
        lambda x: call(x, None, "mse", True) * 2.0**14,
        lambda x: plain(x, None, "mse", True) * 2.0**14,
        queries_keys(2, 4, 200, width, teacher_width, dtype),
        trained=2,
    )


@pytest.mark.parametrize(("window", "key_heads"), [(None, 12), (None, 3), (64, 3)])
def test_memory_is_the_gradients_and_statistics(window: int | None, key_heads: int) -> None:
    B, H, T, d, P = 64, 12, 512, 64, 2
    xs = [queries_keys(B, H, T, d, d, torch.bfloat16, (key_heads, key_heads)) for _ in range(P)]
    leaves = [y.requires_grad_() for x in xs for y in x[:2]]
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    values = attention_map_loss([(x[0], x[1]) for x in xs], [(x[2], x[3]) for x in xs], None, windows=[window] * P)
    torch.autograd.grad(values.sum(), leaves)
    allowed = sum(x.numel() * x.element_size() for x in leaves) + 16 * P * B * H * T + (1 << 20)
    assert torch.cuda.max_memory_allocated() - before <= allowed


@pytest.mark.parametrize("window", [None, 64])
def test_nothing_waits_for_the_device(window: int | None) -> None:
    x = queries_keys(8, 12, 256, 64, 64, torch.bfloat16)
    x[0].requires_grad_()
    mask = draw_mask("holes", 8, 256)
    for mode in ("default", "error"):  # the first pass compiles and may wait
        torch.cuda.set_sync_debug_mode(mode)
        try:
            (call(x, mask, "mse", True, window=window) * 0.5).sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
