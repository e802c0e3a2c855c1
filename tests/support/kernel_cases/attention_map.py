"""Tests of the attention-map loss, for any device."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from bistil_kernels import (
    attention_map_loss,
)
from torch import Tensor

from kernel_cases.exactness import ALLOWANCE, MASKS, assert_as_exact_as_plain, draw_mask


def plain(x: Sequence[Tensor], mask: Tensor | None, kind: str, mask_queries: bool, window: int | None = None) -> Tensor:
    """Return the loss [1] from whole maps and repeated keys, as a mean over the selected entries or rows."""
    (q_s, k_s, q_t, k_t), (B, H, T, _) = x, x[0].shape
    real, token = torch.ones(B, T, dtype=torch.bool) if mask is None else mask, torch.arange(T)
    near = (token[:, None] - token).abs() <= (T if window is None else window)
    keys = (real[:, None, None, :] & near).expand(B, H, T, T)
    bias = torch.where(keys, 0.0, -1e4).to(q_s.dtype)
    k_s, k_t = (k.repeat_interleave(H // k.shape[1], 1) for k in (k_s, k_t))
    log_s = (q_s @ k_s.transpose(-1, -2) / q_s.shape[-1] ** 0.5 + bias).log_softmax(-1)
    log_t = (q_t @ k_t.transpose(-1, -2) / q_t.shape[-1] ** 0.5 + bias).log_softmax(-1)
    counted = keys & real[:, None, :, None] if mask_queries else keys
    if kind == "mse":
        terms, count = (log_s.exp() - log_t.exp()).square(), int(counted.sum())
    else:
        terms, count = log_t.exp() * (log_t - log_s), int(counted.any(-1).sum())
    return (terms * counted).sum()[None] / max(count, 1)


def call(
    x: Sequence[Tensor],
    mask: Tensor | None,
    kind: str,
    mask_queries: bool,
    upstream: float = 1.0,
    window: int | None = None,
) -> Tensor:
    return attention_map_loss([(x[0], x[1])], [(x[2], x[3])], mask, kind, mask_queries, upstream, [window])


def check(
    x: Sequence[Tensor], mask: Tensor | None, kind: str, mask_queries: bool = True, window: int | None = None
) -> None:
    """Compare value and gradients with plain PyTorch; in fp16 a scale keeps the gradients within its range."""
    scale = 4096.0 if x[0].dtype == torch.float16 else 1.0
    assert_as_exact_as_plain(
        lambda x: call(x, mask, kind, mask_queries, window=window) * scale,
        lambda x: plain(x, mask, kind, mask_queries, window) * scale,
        x,
        trained=2,
    )


def queries_keys(
    B: int, H: int, T: int, ds: int, dt: int, dtype: torch.dtype, key_heads: tuple[int, int] | None = None
) -> list[Tensor]:
    """Return queries and keys as a model's projections return them: transposed views [B, H, T, d] of [B, T, H, d].

    `key_heads` is the number of heads of the student's and the teacher's keys: H, unless they are grouped.
    """
    heads_s, heads_t = key_heads or (H, H)
    sizes = (H, ds), (heads_s, ds), (H, dt), (heads_t, dt)
    return [torch.randn(B, T, heads, d, dtype=dtype).transpose(1, 2) for heads, d in sizes]


WINDOWED_MASKS = [*MASKS, "left padding"]
FORMS = {  # window, and heads of the student's and the teacher's keys for 4 heads of queries
    "one key head": (None, (1, 1)),
    "other groups": (None, (2, 1)),
    "window 0": (0, (4, 4)),
    "window 1, half the key heads": (1, (2, 2)),
    "window 4": (4, (4, 4)),
    "window 4, one key head": (4, (1, 1)),
    "window 9, the student's keys grouped": (9, (1, 4)),
}


@pytest.mark.parametrize("kind", ["mse", "kl"])
def test_a_window_over_all_tokens_changes_no_bit(kind: str) -> None:
    x, mask = queries_keys(2, 2, 6, 4, 4, torch.float32), draw_mask("right padding", 2, 6)
    leaves = [y.requires_grad_() for y in x[:2]]
    values = [call(x, mask, kind, True, window=window) for window in (None, 5, 1000)]
    found = [(value.detach(), *torch.autograd.grad(value.sum(), leaves)) for value in values]
    assert all(torch.equal(a, b) for one in found[1:] for a, b in zip(one, found[0]))


def test_pairs_keep_their_own_windows() -> None:
    xs, windows = [queries_keys(1, 2, 7, 4, 4, torch.float32) for _ in range(4)], [2, None, 0, 2]
    leaves = [y.requires_grad_() for x in xs for y in x[:2]]
    mask = torch.tensor([[False, True, True, True, True, False, True]])
    values = attention_map_loss([(x[0], x[1]) for x in xs], [(x[2], x[3]) for x in xs], mask, windows=windows)
    wanted = torch.cat([plain(x, mask, "mse", True, window) for x, window in zip(xs, windows)])
    torch.testing.assert_close(values, wanted)
    upstream = torch.tensor([1.0, 2.0, 3.0, 4.0])
    torch.testing.assert_close(*(torch.autograd.grad(v, leaves, upstream) for v in (values, wanted)))


@pytest.mark.parametrize(("garbage", "window"), [(torch.nan, None), (torch.inf, None), (torch.nan, 2)])
@pytest.mark.parametrize("kind", ["mse", "kl"])
def test_padding_may_hold_garbage(kind: str, garbage: float, window: int | None) -> None:
    x = queries_keys(1, 2, 5, 4, 4, torch.float32)
    mask = torch.tensor([[True, False, True, True, False]])
    q, k = x[0].requires_grad_(), x[1].requires_grad_()
    # this call records gradients too: without them, a GPU's kernel may add in another order
    clean = call(x, mask, kind, True, window=window)
    with torch.no_grad():
        for y in x:
            y[:, :, ~mask[0]] = garbage
    value = call(x, mask, kind, True, window=window)
    value.backward()
    assert torch.equal(value, clean)
    for gradient in (q.grad, k.grad):
        assert gradient is not None
        assert gradient.isfinite().all()
        assert not gradient[:, :, ~mask[0]].any()


@pytest.mark.parametrize("kind", ["mse", "kl"])
def test_a_padded_batch_counts_like_its_sequences_cut_to_length(kind: str) -> None:
    x = queries_keys(1, 2, 9, 4, 4, torch.float32)
    mask = (torch.arange(9) < 5)[None]
    torch.testing.assert_close(call(x, mask, kind, True), call([y[:, :, :5] for y in x], None, kind, True))


@pytest.mark.parametrize("kind", ["mse", "kl"])
@pytest.mark.parametrize("dtype", ALLOWANCE)
def test_an_upstream_gradient_told_beforehand_changes_no_gradient(kind: str, dtype: torch.dtype) -> None:
    x, mask = queries_keys(2, 2, 7, 4, 4, dtype), draw_mask("right padding", 2, 7)
    leaves = [y.requires_grad_() for y in x[:2]]
    for upstream in (0.25, -3.0):  # the announced gradient, then another one
        told, plain = (call(x, mask, kind, True, expected) * upstream for expected in (0.25, 1.0))
        found, wanted = (torch.autograd.grad(value.sum(), leaves) for value in (told, plain))
        torch.testing.assert_close(found, wanted, rtol=2 * torch.finfo(dtype).eps, atol=1e-7)
    with pytest.raises(ValueError, match="upstream"):
        call(x, mask, kind, True, 0.0)


def test_is_as_exact_where_maps_are_peaked_and_close() -> None:
    torch.manual_seed(0)
    q, k = (5.0 * x for x in queries_keys(1, 2, 64, 16, 16, torch.float32)[:2])
    teacher = [x + 0.1 * torch.randn_like(x) for x in (q, k)]
    assert_as_exact_as_plain(
        lambda x: call(x, None, "mse", True) * 1e4, lambda x: plain(x, None, "mse", True) * 1e4, [q, k, *teacher], 2
    )


def test_equal_queries_and_keys_cost_nothing() -> None:
    q, k, *_ = queries_keys(2, 2, 6, 4, 4, torch.float32)
    for kind in ("mse", "kl"):
        assert call([q, k, q, k], None, kind, True).item() == 0.0


def test_pairs_are_independent() -> None:
    a, b = queries_keys(1, 2, 5, 4, 4, torch.float32), queries_keys(1, 2, 5, 4, 4, torch.float32)
    both = attention_map_loss([(a[0], a[1]), (b[0], b[1])], [(a[2], a[3]), (b[2], b[3])], None)
    torch.testing.assert_close(both, torch.cat([call(a, None, "mse", True), call(b, None, "mse", True)]))
