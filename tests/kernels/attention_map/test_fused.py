"""Test the Triton kernels of the attention-map loss on CPU tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from bistil_kernels.attention_map import fused, settings
from bistil_kernels.attention_map.fused import attention_map_loss
from bistil_kernels.runtime import pairs
from kernel_cases.attention_map import (  # noqa: F401
    WINDOWED_MASKS,
    call,
    check,
    plain,
    queries_keys,
    test_a_padded_batch_counts_like_its_sequences_cut_to_length,
    test_a_window_over_all_tokens_changes_no_bit,
    test_an_upstream_gradient_told_beforehand_changes_no_gradient,
    test_is_as_exact_where_maps_are_peaked_and_close,
    test_padding_may_hold_garbage,
    test_pairs_keep_their_own_windows,
)
from kernel_cases.exactness import ALLOWANCE, MASKS, draw_mask
from kernel_cases.on_cpu import _triton_serves_the_cpu  # noqa: F401
from kernel_cases.spread import spread
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint


@pytest.fixture(autouse=True)
def poisoned() -> Iterator[None]:
    """Fill new memory with NaN, so that an entry that no kernel writes is noticed."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make tiles so small that a map spans several of them, as it does at real lengths."""
    for table in (settings.FORWARD, settings.BACKWARD):
        for one in table.values():
            monkeypatch.setitem(one, "OWN", 16)
            monkeypatch.setitem(one, "OTHER", 16)


@pytest.fixture
def fused_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add fp32 products unrounded, and subtract them, by fused multiply-add, as compilers for GPUs do."""
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    def multiply(builder: InterpreterBuilder, a: TensorHandle, b: TensorHandle) -> TensorHandle:
        found = builder.binary_op(a, b, np.multiply)
        if found.data.dtype == np.float32:
            found.attr["exact"] = np.multiply(a.data, b.data, dtype=np.float64)
        return found

    def exact(x: TensorHandle) -> Any:
        return SimpleNamespace(data=x.attr["exact"], dtype=x.dtype)

    def fusing(operation: np.ufunc) -> Callable[..., TensorHandle]:
        def run(builder: InterpreterBuilder, a: TensorHandle, b: TensorHandle) -> TensorHandle:
            if "exact" in a.attr:  # of two products, one is rounded
                return builder.binary_op(exact(a), b, operation)
            return builder.binary_op(a, exact(b) if "exact" in b.attr else b, operation)

        return run

    monkeypatch.setattr(InterpreterBuilder, "create_fmul", multiply)
    monkeypatch.setattr(InterpreterBuilder, "create_fadd", fusing(np.add))
    monkeypatch.setattr(InterpreterBuilder, "create_fsub", fusing(np.subtract))


@pytest.mark.parametrize(
    ("kind", "mask_name", "mask_queries", "dtype"), spread(["mse", "kl"], MASKS, [True, False], [*ALLOWANCE], every=6)
)
def test_is_as_exact_as_comparing_whole_maps(kind: str, mask_name: str, mask_queries: bool, dtype: torch.dtype) -> None:
    H = 2 if dtype == torch.bfloat16 else 1  # one head only where possible, since the interpreter is slow
    check(queries_keys(2, H, 7, 4, 6, dtype), draw_mask(mask_name, 2, 7), kind, mask_queries)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(
    ("kind", "dtype", "mask_name", "length"),
    spread(
        ["mse", "kl"],
        [*ALLOWANCE],
        ["none given", "right padding"],
        {"the last tile cut": 37, "whole tiles": 32},
        every=6,
    ),
)
def test_is_as_exact_over_several_tiles(kind: str, dtype: torch.dtype, mask_name: str, length: int) -> None:
    B = 2 if length == 32 else 1  # the interpreter takes seconds for a map of nine tiles
    check(queries_keys(B, 1, length, 20, 9, dtype), draw_mask(mask_name, B, length), kind)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(
    ("mask_name", "mask_queries"), spread([name for name in MASKS if name != "none given"], [True, False], every=2)
)
def test_is_as_exact_where_whole_tiles_are_padding(mask_name: str, mask_queries: bool) -> None:
    mask = draw_mask(mask_name, 2, 36)
    assert mask is not None
    mask[0, 14:] = False  # the second and the third tile
    check(queries_keys(2, 1, 36, 8, 8, torch.float32), mask, "mse", mask_queries)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(("kind", "window", "dtype"), spread(["mse", "kl"], [5, 16, 0, 25], [*ALLOWANCE], every=6))
def test_is_as_exact_with_a_window(kind: str, window: int, dtype: torch.dtype) -> None:
    check(queries_keys(1, 1, 33, 8, 12, dtype), None, kind, True, window)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(
    ("kind", "mask_name", "mask_queries"), spread(["mse", "kl"], WINDOWED_MASKS, [True, False], every=7)
)
def test_is_as_exact_with_a_window_and_a_mask(kind: str, mask_name: str, mask_queries: bool) -> None:
    check(queries_keys(2, 1, 36, 8, 8, torch.float32), draw_mask(mask_name, 2, 36), kind, mask_queries, 5)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(
    ("kind", "key_heads", "window", "dtype"),
    spread(["mse", "kl"], [(1, 1), (2, 2), (2, 1), (1, 4)], [None, 3], [*ALLOWANCE], every=6),
)
def test_is_as_exact_with_grouped_keys(
    kind: str, key_heads: tuple[int, int], window: int | None, dtype: torch.dtype
) -> None:
    check(queries_keys(1, 4, 19, 8, 8, dtype, key_heads), draw_mask("left padding", 1, 19), kind, True, window)


@pytest.mark.parametrize(("kind", "window", "dtype"), [("mse", 2, torch.bfloat16), ("kl", 0, torch.float16)])
def test_is_as_exact_with_a_window_inside_one_tile(kind: str, window: int, dtype: torch.dtype) -> None:
    check(queries_keys(2, 2, 9, 8, 8, dtype, (1, 2)), draw_mask("holes", 2, 9), kind, False, window)


@pytest.mark.usefixtures("small_tiles")
def test_tiles_outside_the_window_are_not_read() -> None:
    x = queries_keys(1, 1, 64, 4, 4, torch.float32)
    for y in x:
        y[:, :, 48:] = torch.nan  # the last tile; nothing times 0 is 0
    leaves = [y.requires_grad_() for y in x[:2]]
    dq, dk = torch.autograd.grad(call(x, None, "mse", True, window=15).sum(), leaves)
    assert dq[:, :, :32].isfinite().all()
    assert dq[:, :, 33:].isnan().any(-1).all(), "these queries see the last tile"
    assert dk[:, :, :16].isfinite().all()


@pytest.mark.usefixtures("fused_products")
def test_is_as_exact_over_two_tiles_where_products_are_fused() -> None:
    q, k = (5.0 * x for x in queries_keys(1, 1, 32, 16, 16, torch.float32)[:2])  # peaked maps
    check([q, k, q + 0.1 * torch.randn_like(q), k + 0.1 * torch.randn_like(k)], None, "mse")


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(("width", "dtype"), [(70, torch.float32), (130, torch.bfloat16), (1, torch.float16)])
def test_heads_may_have_any_width(width: int, dtype: torch.dtype) -> None:
    check(queries_keys(1, 1, 18, width, 5, dtype), None, "mse")


def test_a_single_token_costs_nothing() -> None:
    assert call(queries_keys(1, 1, 1, 1, 1, torch.float32), None, "mse", True).item() == 0.0


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("kind", ["mse", "kl"])
@pytest.mark.parametrize("length", [20, 32])
def test_equal_queries_and_keys_cost_nothing(kind: str, length: int) -> None:
    q, k, *_ = queries_keys(1, 2, length, 4, 4, torch.float32)
    assert call([q, k, q, k], None, kind, True).item() == 0.0


def test_pairs_of_different_layouts_keep_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "MOST_PAIRS", 1)
    xs = [queries_keys(1, 2, 5, d, 4, torch.float32) for d in (4, 3, 4)]
    leaves = [y.requires_grad_() for x in xs for y in x[:2]]
    values = attention_map_loss([(x[0], x[1]) for x in xs], [(x[2], x[3]) for x in xs], None)
    gradients = torch.autograd.grad(values, leaves, torch.tensor([1.0, 2.0, 3.0]))
    wanted = [plain(x, None, "mse", True) for x in xs]
    torch.testing.assert_close(values, torch.cat(wanted))
    for i, one in enumerate(wanted):
        mine = torch.autograd.grad(one * (i + 1), xs[i][:2])
        torch.testing.assert_close(list(gradients[2 * i : 2 * i + 2]), list(mine))


@pytest.mark.parametrize(("window", "key_heads"), [(None, (2, 2)), (4, (1, 2))])
def test_nothing_is_kept_or_made_beyond_statistics_and_gradients(
    window: int | None, key_heads: tuple[int, int]
) -> None:
    class Made(TorchDispatchMode):
        sizes: list[int] = []  # noqa: RUF012

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            self.sizes += [x.numel() for x in tree_leaves(out) if isinstance(x, Tensor)]
            return out

    B, H, T, d = 1, 2, 48, 2
    q, k, *teacher = queries_keys(B, H, T, d, d, torch.float32, key_heads)
    with Made() as made:
        call([q.requires_grad_(), k.requires_grad_(), *teacher], None, "mse", True, window=window).backward()
    assert max(made.sizes) <= 3 * B * H * T
    assert max(made.sizes) < T * T


def test_launches_on_amds_gpus_take_no_option_of_nvidias(monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.backends.amd.compiler import HIPOptions
    from triton.runtime.interpreter import InterpretedFunction

    launched, run = [], InterpretedFunction.run

    def noting(kernel: InterpretedFunction, *args: object, grid: object, warmup: bool, **named: object) -> object:
        launched.append(kernel.fn.__name__)
        assert set(named) <= {*kernel.arg_names, *HIPOptions.__dataclass_fields__}  # Triton refuses any other
        return run(kernel, *args, grid=grid, warmup=warmup, **named)

    monkeypatch.setattr(InterpretedFunction, "run", noting)
    monkeypatch.setattr(torch.version, "hip", "7.0")
    x = queries_keys(1, 1, 3, 4, 4, torch.float32)
    call([x[0].requires_grad_(), *x[1:]], None, "mse", True).backward()
    assert launched == ["compare_maps", "finish_maps", "key_gradients", "scale"]


def test_works_inside_a_checkpoint_and_a_compiled_function() -> None:
    q, k, *teacher = queries_keys(1, 2, 5, 4, 4, torch.float32)

    def loss(q: Tensor, k: Tensor) -> Tensor:
        return call([q.tanh(), k, *teacher], None, "mse", True).sum()

    def gradient(f) -> Tensor:  # type: ignore[no-untyped-def]
        leaf = q.clone().requires_grad_()
        return torch.autograd.grad(f(leaf, k), leaf)[0]

    wanted = gradient(loss)
    torch.testing.assert_close(gradient(lambda q, k: checkpoint(loss, q, k, use_reentrant=False)), wanted)
    torch.testing.assert_close(gradient(torch.compile(loss, backend="aot_eager", fullgraph=True)), wanted)


@pytest.mark.parametrize(("mask_name", "window"), [("none given", None), ("holes", 1)])
def test_a_call_past_the_dispatcher_gives_the_operators_bits(
    mask_name: str, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    q, k, *teacher = queries_keys(2, 2, 5, 4, 4, torch.float32)
    leaves, mask = [q.requires_grad_(), k.requires_grad_()], draw_mask(mask_name, 2, 5)

    def run() -> list[Tensor]:
        value = call([q, k, *teacher], mask, "mse", True, window=window) * 3
        with torch.no_grad():
            alone = call([q, k, *teacher], mask, "mse", True, window=window)
        return [value.detach(), alone, *torch.autograd.grad(value.sum(), leaves)]

    direct = run()
    monkeypatch.setattr(fused, "is_direct", lambda _: False)
    assert all(torch.equal(a, b) for a, b in zip(direct, run()))


def test_the_operators_are_registered_as_torch_wants_them() -> None:
    x = [[y] for y in queries_keys(2, 2, 3, 4, 5, torch.float32, (1, 2))]
    operators, mask = torch.ops.bistil_kernels, draw_mask("holes", 2, 3)
    stops, stats = torch.full((2,), 3, dtype=torch.int32), [torch.rand(3, 2, 2, 3)]
    backward = (*x, mask, [1], stops, stats, torch.ones(1), torch.rand(1), False, True)
    torch.library.opcheck(operators.attention_map_backward, backward)
    x[0][0].requires_grad_()
    for given in (mask, None):
        torch.library.opcheck(operators.attention_map, (*x, given, [1], True, False, 1.0, True))
