"""Windows, grouped keys and relations of the attention-map loss, for a run of the compiled kernels without a GPU.

ptxrun executes the PTX that Triton compiles; `every` is what its `--more` takes. `make test-ptx` runs a part. All of
these, from the project's root:

    export PYTHONPATH=.:kernels:tests/support:../shared/tools
    python -m ptxrun.check --project . --more tests.kernels.ptx_variants windowed relations
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from bistil_kernels import attention_map_loss
from kernel_cases.attention_map import plain
from ptxrun.families import SHORT, Case, Report, check_loss, draw_mask
from ptxrun.memory import guarded, mark_written
from torch import Tensor

from bistil_ds.training.layer_losses import relation_terms

FP32, FP16, BF16 = torch.float32, torch.float16, torch.bfloat16


def every() -> Iterator[Case]:
    """Yield variants whose windows are smaller and larger than a tile, with and without masks and grouped keys."""
    for kind in ("mse", "kl"):
        for dtype in (FP32, FP16, BF16):
            yield _case(kind, dtype, (2, 2, 17), (8, 12), 4)
            yield _case(kind, dtype, (2, 2, 17), (8, 12), 1, "holes", mask_queries=False)
            yield _case(kind, dtype, (1, 1, 150), (64, 64), 20)
            yield _case(kind, dtype, (2, 1, 100), (64, 64), 10, "padding")
            yield _case(kind, dtype, (1, 1, 100), (32, 64), 33, "late start", mask_queries=False)
            yield _case(kind, dtype, (2, 1, 40), (64, 32), 3, "empty sequence")
            yield _case(kind, dtype, (1, 4, 40), (16, 16), None, "holes", key_heads=(1, 2))
            yield _case(kind, dtype, (1, 4, 70), (64, 64), 5, key_heads=(2, 4))
            yield _case(kind, dtype, (1, 2, 70), (128, 100), 1, "padding", key_heads=(1, 1))
            yield _case(kind, dtype, (1, 1, 70), (160, 70), 30, "late start")
        yield _case(kind, BF16, (1, 1, 256), (64, 64), 64)
        yield _case(kind, BF16, (1, 2, 20), (16, 16), 2, "nothing real", key_heads=(1, 1))
        yield _case(kind, FP32, (1, 4, 130), (20, 20), 16, "holes", key_heads=(2, 1))
    yield Case("attention", "windowed, mse, pairs of several windows", _pairs)
    yield Case("attention", "windowed, window 0", _window_0)
    for dtype in (FP32, FP16, BF16):
        yield _relations(dtype, 3, (1, 40), (2, 2, 24), (4, 4, 15))
        yield _relations(dtype, 2, (2, 17), (4, 2, 8), (4, 1, 12), "holes", is_delicate=dtype == BF16)
        yield _relations(dtype, 1, (1, 70), (2, 2, 48), (4, 4, 40), "padding", mask_queries=False)
    yield _relations(FP32, 2, (2, 33), (2, 2, 32), (2, 2, 32), "empty sequence", factor=5.0, is_delicate=True)


def _make(shape: tuple[int, int, int], widths: tuple[int, int], key_heads: tuple[int, int], dtype: torch.dtype):  # type: ignore[no-untyped-def]
    """Return queries and keys of both models, as transposed views of [B, T, H, d]."""
    B, H, T = shape
    sizes = [(heads, d) for heads_k, d in zip(key_heads, widths) for heads in (H, heads_k)]
    return [guarded(torch.randn(B, n, T, d).to(dtype), (T * n * d, d, n * d, 1)) for n, d in sizes]


def _case(
    kind: str,
    dtype: torch.dtype,
    shape: tuple[int, int, int],
    widths: tuple[int, int],
    window: int | None,
    mask_name: str = "no mask",
    *,
    mask_queries: bool = True,
    key_heads: tuple[int, int] | None = None,
) -> Case:
    heads = key_heads or (shape[1], shape[1])

    def run(report: Report) -> None:
        mask = draw_mask(mask_name, shape[0], shape[2])
        if mask is not None and mask_name == "padding":
            mask[0] = torch.arange(shape[2]) < max(1, shape[2] // 3)
            mark_written(mask)

        def ours(x: Sequence[Tensor]) -> Tensor:
            return attention_map_loss([(x[0], x[1])], [(x[2], x[3])], mask, kind, mask_queries, windows=[window])

        check_loss(
            report,
            ours,
            lambda x: plain(x, mask, kind, mask_queries, window),
            _make(shape, widths, heads, dtype),
            2,
            2.0**12 if dtype == FP16 else 1.0,
            dtype=dtype,
        )

    name = f"windowed, {kind}, {SHORT[dtype]}, {list(shape)}, d {widths[0]}/{widths[1]}, window {window}, "
    name += f"key heads {heads[0]}/{heads[1]}, {mask_name}{'' if mask_queries else ', all queries'}"
    return Case("attention", name, run)


def _pairs(report: Report) -> None:
    windows = [2, None, 5, 2]  # 0 has a case of its own: its values are 0, from which no relative error is taken
    xs = [_make((1, 2, 37), (8, 8), (2, 1), FP32) for _ in windows]
    leaves = [y.requires_grad_() for x in xs for y in x[:2]]
    mask = draw_mask("holes", 1, 37)
    values = attention_map_loss([(x[0], x[1]) for x in xs], [(x[2], x[3]) for x in xs], mask, windows=windows)
    upstream = torch.tensor([1.0, 2.0, 3.0, -4.0])
    found = torch.autograd.grad(values, leaves, upstream)
    for i, x in enumerate(xs):
        doubles = [y.detach().double().requires_grad_(j < 2) for j, y in enumerate(x)]
        exact = plain(doubles, mask, "mse", True, windows[i])
        report.compare(f"value {i}", values[i], exact[0].float(), exact[0].detach(), 1e-5)
        wanted = torch.autograd.grad(exact * upstream[i].double(), doubles[:2])
        for j in range(2):
            report.compare(f"gradient {i}.{j}", found[2 * i + j], wanted[j].float(), wanted[j], 1e-5)


def _window_0(report: Report) -> None:
    """Hold value and gradients near 0: a query sees itself only, so both maps are 1, up to the rounding of a score."""
    for kind in ("mse", "kl"):
        x = _make((1, 2, 40), (16, 16), (2, 1), FP32)
        leaves = [y.requires_grad_() for y in x[:2]]
        value = attention_map_loss([(x[0], x[1])], [(x[2], x[3])], draw_mask("holes", 1, 40), kind, windows=[0])
        for found in (value, *torch.autograd.grad(value.sum(), leaves)):
            report.hold(f"{kind}: {float(found.abs().max()):.1e} where nothing should be", found.abs().max() < 1e-6)


def _relations(
    dtype: torch.dtype,
    heads: int,
    shape: tuple[int, int],
    student: tuple[int, int, int],
    teacher: tuple[int, int, int],
    mask_name: str = "no mask",
    *,
    mask_queries: bool = True,
    factor: float = 1.0,
    is_delicate: bool = False,
) -> Case:
    """Return relations of `heads` heads: each tensor is queries and keys at once. Keys and values may be grouped.

    `shape` is (B, T). `student` and `teacher` are (heads of queries, heads of keys and values, width of a head).
    `factor` multiplies what is compared.
    """
    B, T = shape

    def run(report: Report) -> None:
        mask = draw_mask(mask_name, B, T)
        sizes = [(n, d) for H, Hk, d in (student, teacher) for n in (H, Hk, Hk)]
        x = [guarded((factor * torch.randn(B, n, T, d)).to(dtype), (T * n * d, d, n * d, 1)) for n, d in sizes]

        def ours(x: Sequence[Tensor]) -> Tensor:
            return relation_terms(list(x[:3]), list(x[3:]), mask, heads, mask_queries, 1.0)

        def whole(x: Sequence[Tensor]) -> Tensor:
            cut = [y.transpose(1, 2).reshape(B, T, heads, -1).transpose(1, 2) for y in x]
            return torch.cat([plain([s, s, t, t], mask, "kl", mask_queries) for s, t in zip(cut[:3], cut[3:])])

        check_loss(report, ours, whole, x, 3, 2.0**12 if dtype == FP16 else 1.0, dtype=dtype)

    name = f"relations, {SHORT[dtype]}, {heads} heads, {list(shape)}, student {student}, teacher {teacher}"
    name += f", {mask_name}{'' if mask_queries else ', all queries'}{'' if factor == 1.0 else ', peaked'}"
    return Case("attention", name, run, is_delicate=is_delicate)
