"""`linear_distillation_kl` on CUDA: products by cuBLAS, everything else by Triton kernels, in chunks of the vocabulary.

n positions that count, V vocabulary entries, Ds and Dt the widths, e bytes an element.

Logits exist in fp32 chunks of at most `CHUNK` of the student and of the teacher. A first sweep over the chunks finds
each position's log-sum-exps; a second one forms each chunk again, its gradient, and that chunk of the weight's
gradient, so that weights are read twice and nothing of a weight's size is ever accumulated. Where all n·V logits are
one chunk they are formed once. With chunks of v entries the memory beyond inputs and returned gradients is 12·CHUNK
bytes (16 in fp32), 8·v·Ds for a chunk of the weight's gradient (4·v·Ds where n is at most `MOST_ROWS`), 8·n·Ds for the
hidden states' one and 28·n; with labels a copy of the hidden states that count. Operations: 4·n·V·Ds + 2·n·V·(Ds + Dt),
and the last term again for the second sweep. Bytes moved beside the products' operands: 16·n·V a sweep (logits written
and read) and 3·e·n·V (their gradient written, read twice), from the L2 cache where chunks fit.
What is fused: between the products, one kernel takes a chunk of both heads' logits into the running statistics (bias,
temperature, softmaxes, KL and cross-entropy in one reading), and one turns a chunk into its gradient. The products
themselves are left to cuBLAS, and each writes its chunk to memory (or the L2 cache) once. Those of fp32 stay fp32, even
where a program allows TF32 elsewhere.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from bistil_kernels.precision import ieee_products, kept_dtype
from bistil_kernels.triton_logit_chunks import accumulate_statistics, differentiate_chunk, finish_positions
from bistil_kernels.triton_online_kl import LEAST
from bistil_kernels.triton_pairs import device_of
from bistil_kernels.triton_scaling import scaled

CHUNK = 1 << 22  # logits of the student at once: 16 MiB
MOST_ROWS = 2048  # of a chunk
READING = {"BLOCK": 2048, "num_warps": 8}
FINISHING = {"BLOCK": 1024, "num_warps": 4}


def linear_distillation_kl(
    student: tuple[Tensor, Tensor, Tensor | None],
    teacher: tuple[Tensor, Tensor, Tensor | None],
    temperature: float,
    labels: Tensor | None,
    alpha_ce: float,
    ignore_index: int,
) -> Tensor:
    """`bistil_kernels.linear_distillation_kl` of (hidden, weight, bias) in fp32, bf16 or fp16, checked already, on a
    CUDA device (on a CPU only under Triton's interpreter)."""
    wanted = [x is not None and x.requires_grad and torch.is_grad_enabled() for x in student]
    targets = [None if x is None else x.detach() for x in teacher]
    op = torch.ops.bistil_kernels.linear_distillation_kl
    return op(*student, *targets, float(temperature), labels, float(alpha_ce), ignore_index, wanted)[0]


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, accumulated and returned in fp32."""
    if a.is_cuda and a.dtype == b.dtype != torch.float32:
        return torch.mm(a, b, out_dtype=torch.float32)
    return a.float() @ b.float()


def _slices(length: int, size: int) -> list[slice]:
    return [slice(first, min(first + size, length)) for first in range(0, length, size)]


class _Chunks:
    """The logits of the positions that count, a chunk at a time, and what is computed of each."""

    def __init__(
        self, student: list[Any], teacher: list[Any], temperature: float, labels: Tensor | None, alpha_ce: float
    ) -> None:
        (self.hidden, self.weight, self.bias), (self.teacher_hidden, self.teacher_weight, self.teacher_bias) = (
            student,
            teacher,
        )
        self.labels = labels if alpha_ce else None
        self.n, self.V = len(self.hidden), len(self.weight)
        self.temperatures, self.alpha_ce = (temperature, 1.0 / temperature), alpha_ce
        rows = min(self.n, MOST_ROWS)
        columns = max(1, CHUNK // rows)
        if self.V > columns > 64:
            columns -= columns % 64
        self.rows, self.columns = _slices(self.n, rows), _slices(self.V, min(columns, self.V))
        self.state = self.hidden.new_zeros(7, self.n, dtype=torch.float32)
        self.state[:3:2] = LEAST.value

    def logits(self, r: slice, c: slice) -> tuple[Tensor, Tensor]:
        student = _product(self.hidden[r], self.weight[c].t())
        return student, _product(self.teacher_hidden[r], self.teacher_weight[c].t())

    def _arguments(self, r: slice) -> tuple[Any, ...]:
        labels = None if self.labels is None else self.labels[r]
        return self.bias, self.teacher_bias, labels, self.state[:, r.start :]

    def accumulate(self, logits: tuple[Tensor, Tensor], r: slice, c: slice) -> None:
        rows, columns = logits[0].shape
        sizes = (self.n, columns, c.start, *self.temperatures)
        hard = {"HARD": self.labels is not None}
        accumulate_statistics[(rows,)](*logits, *self._arguments(r), *sizes, **hard, **READING)

    def differentiate(self, logits: tuple[Tensor, Tensor], r: slice, c: slice) -> Tensor:
        same = self.hidden.dtype == self.weight.dtype
        gradient = torch.empty_like(logits[0], dtype=self.hidden.dtype if same else torch.float32)
        rows, columns = gradient.shape
        sizes = (self.n, columns, c.start, *self.temperatures, self.alpha_ce)
        launch = differentiate_chunk[(rows, triton.cdiv(columns, READING["BLOCK"]))]
        launch(*logits, *self._arguments(r), gradient, *sizes, HARD=self.labels is not None, **READING)
        return gradient

    def finish(self, value: Tensor) -> None:
        settings = {"HARD": self.labels is not None, **FINISHING}
        finish_positions[(1,)](self.state, value, self.n, self.temperatures[0], self.alpha_ce, **settings)


def _buffers(student: list[Tensor | None], wanted: list[bool]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Value [], ones fp32 [3], and the gradients, for upstream ones, of hidden, weight and bias ([0] if not wanted)."""
    hidden = student[0]
    assert hidden is not None
    value, ones = (hidden.new_full(shape, start, dtype=torch.float32) for shape, start in (((), 0.0), ((3,), 1.0)))
    likes = [hidden if x is None else x for x in student]
    gradients = [hidden.new_empty(x.shape if w else (0,), dtype=kept_dtype(x.dtype)) for x, w in zip(likes, wanted)]
    return value, ones, gradients


@torch.library.custom_op(
    "bistil_kernels::linear_distillation_kl",
    mutates_args=(),
    schema="(Tensor hidden, Tensor weight, Tensor? bias, Tensor teacher_hidden, Tensor teacher_weight,"
    " Tensor? teacher_bias, float temperature, Tensor? labels, float alpha_ce, int ignore_index, bool[] wanted)"
    " -> (Tensor, Tensor, Tensor[])",
)
def _forward(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    teacher_bias: Tensor | None,
    temperature: float,
    labels: Tensor | None,
    alpha_ce: float,
    ignore_index: int,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, list[Tensor]]:
    value, ones, gradients = _buffers([hidden, weight, bias], wanted)
    counting = None
    if labels is not None:  # positions that do not count are not computed: worth waiting for their number
        counting = (labels != ignore_index).nonzero().squeeze(1)
        hidden, teacher_hidden, labels = (x.index_select(0, counting) for x in (hidden, teacher_hidden, labels))
    bias, teacher_bias = (None if x is None else x.contiguous() for x in (bias, teacher_bias))
    if not hidden.shape[0] or not weight.shape[0]:
        return value, ones, [x.zero_() for x in gradients]
    student, teacher = [hidden, weight, bias], [teacher_hidden, teacher_weight, teacher_bias]
    with device_of(hidden), torch.autocast(hidden.device.type, enabled=False), ieee_products():
        chunks = _Chunks(student, teacher, temperature, labels, alpha_ce)
        at_once = None
        for r in chunks.rows:
            for c in chunks.columns:
                logits = chunks.logits(r, c)
                chunks.accumulate(logits, r, c)
                if len(chunks.rows) == len(chunks.columns) == 1:
                    at_once = logits
                del logits  # before the next ones are made
        chunks.finish(value)
        if any(wanted):
            _differentiate(chunks, at_once, counting, wanted, gradients)
    return value, ones, gradients


def _differentiate(
    chunks: _Chunks,
    at_once: tuple[Tensor, Tensor] | None,
    counting: Tensor | None,
    wanted: list[bool],
    gradients: list[Tensor],
) -> None:
    """Fill the wanted gradients, for upstream 1. `at_once`: all logits, where they are one chunk."""
    d_hidden, d_weight, d_bias = gradients
    of_hidden = torch.zeros_like(chunks.hidden, dtype=torch.float32) if wanted[0] else d_hidden
    for c in chunks.columns:
        weight = chunks.weight[c]
        of_weight = of_bias = None
        for r in chunks.rows:
            d_logits = chunks.differentiate(at_once or chunks.logits(r, c), r, c)
            if wanted[0]:
                of_hidden[r] += _product(d_logits, weight)
            if wanted[1]:
                of_weight = _sum(of_weight, _product(d_logits.t(), chunks.hidden[r]))
            if wanted[2]:
                of_bias = _sum(of_bias, d_logits.sum(0, dtype=torch.float32))
        if of_weight is not None:
            torch.div(of_weight, chunks.n, out=d_weight[c])
        if of_bias is not None:
            torch.div(of_bias, chunks.n, out=d_bias[c])
    if wanted[0] and counting is None:
        d_hidden.copy_(of_hidden.div_(chunks.n))
    elif wanted[0] and counting is not None:
        d_hidden.zero_().index_copy_(0, counting, of_hidden.div_(chunks.n).to(d_hidden.dtype))


def _sum(before: Tensor | None, more: Tensor) -> Tensor:
    return more if before is None else before.add_(more)


@_forward.register_fake
def _(hidden, weight, bias, teacher_hidden, teacher_weight, teacher_bias, temperature, labels, *rest):
    return _buffers([hidden, weight, bias], rest[-1])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, list[Tensor]]) -> None:
    _, ones, gradients = output
    ctx.wanted = inputs[-1]
    ctx.dtypes = [None if x is None else x.dtype for x in inputs[:3]]
    ctx.mark_non_differentiable(ones, *gradients)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(ones, *gradients)


def _backward(ctx: Any, upstream: Tensor | None, *_: object) -> tuple[Tensor | None, ...]:
    ones, *gradients = ctx.saved_tensors
    found: list[Tensor | None] = [None] * 3
    at = [i for i in range(3) if ctx.wanted[i] and upstream is not None]
    if at and upstream is not None:
        kept, dtypes = [gradients[i] for i in at], [ctx.dtypes[i] for i in at]
        for i, x in zip(at, scaled(kept, ones[: len(at)], upstream.reshape(1).expand(len(at)), dtypes)):
            found[i] = x
    return (*found, *[None] * 8)


_forward.register_autograd(_backward, setup_context=_setup_context)
