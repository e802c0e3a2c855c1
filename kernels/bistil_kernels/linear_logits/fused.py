"""`linear_distillation_kl` on CUDA: products by cuBLAS, everything else by Triton kernels, in chunks of the vocabulary.

N positions, n of which count, V vocabulary entries, Ds and Dt the widths of student and teacher, e bytes an element.

Logits are computed in fp32, a chunk of positions x vocabulary entries at a time. A chunk has C logits of each head
(`chunk_shape` chooses C), and every chunk uses the same memory. A first sweep over the chunks computes each position's
log-sum-exps. A second sweep goes from the last chunk to the first and computes the logits again, except those of the
last chunk, which are still in memory. From a chunk's logits it computes the gradient at these logits, then the hidden
states' gradient, and the weight's gradient at the chunk's vocabulary entries. No second buffer of a weight's size is
needed to add up its gradient.

Memory beyond inputs and returned gradients: 10·C bytes (12·C in fp32), and 64·n bytes of statistics. (If there are few
positions, several programs share one and keep statistics of their own, which takes more.) bf16 takes 4·n·Ds bytes more
for the hidden states' gradient in fp32. If n is more than `MOST_ROWS`, bf16 also takes 4·v·Ds bytes for the weight's
gradient in fp32 at the v vocabulary entries of one chunk. With labels, the hidden states of the positions that count
are copied, and so is their gradient. The range of fp16 is too small for a gradient that is not yet multiplied by the
loss scale. So fp16 keeps its gradients in fp32 too, 4·(N + V)·Ds bytes, until backward is over.

Operations: 4·n·V·Ds for gradients, and 2·n·V·(Ds + Dt) in each of the two sweeps for logits. Bytes moved beside the
products' operands: 16·n·V in each sweep (both heads' logits are written and read), and 3·e·n·V in the second (the
gradient at the student's logits is written once and read twice). If chunks fit into the L2 cache, these bytes stay
there.

Two kernels run between the products. One reads a chunk of both heads' logits once, applies bias and temperature, and
adds the chunk to the running statistics of softmaxes, KL and cross-entropy. The other computes the gradient at a
chunk's logits. The products are left to cuBLAS, and each writes its chunk to memory (or the L2 cache) once. fp32
products stay fp32, even if the program allows TF32 elsewhere.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bistil_kernels.linear_logits.chunks import VocabularyChunks, part
from bistil_kernels.linear_logits.products import add_product
from bistil_kernels.runtime.pairs import device_of
from bistil_kernels.runtime.precision import ieee_products, kept_dtype, without_autocast
from bistil_kernels.runtime.scaling import scaled


def linear_distillation_kl(
    student: tuple[Tensor, Tensor, Tensor | None],
    teacher: tuple[Tensor, Tensor, Tensor | None],
    temperature: float,
    labels: Tensor | None,
    alpha_ce: float,
    ignore_index: int,
) -> Tensor:
    """Compute `bistil_kernels.linear_distillation_kl` by cuBLAS and Triton kernels.

    student and teacher are (hidden, weight, bias), checked already: fp32, bf16 or fp16 on a CUDA device, or on a CPU
    under Triton's interpreter. Under autocast, hidden states and weights are first cast to autocast's dtype, as
    `torch.nn.functional.linear` would do.
    """
    device = student[0].device.type
    if torch.is_autocast_enabled(device):
        student, teacher = (_cast(*head, torch.get_autocast_dtype(device)) for head in (student, teacher))
    wanted = [x is not None and x.requires_grad and torch.is_grad_enabled() for x in student]
    targets = [None if x is None else x.detach() for x in teacher]
    op = torch.ops.bistil_kernels.linear_distillation_kl
    return op(*student, *targets, float(temperature), labels, float(alpha_ce), ignore_index, wanted)[0]


def _cast(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor | None]:
    return hidden.to(dtype), weight.to(dtype), bias


def _buffers(student: list[Tensor | None], wanted: list[bool]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return a value of 0 (fp32 []), the prepared upstream gradients (fp32 [3], all 1), and a list of gradients.

    The gradients are computed in forward, as if the upstream gradient were the prepared one. The list has uninitialised
    tensors for the gradients of hidden, weight and bias; a gradient that is not wanted is [0].
    """
    hidden = student[0]
    assert hidden is not None
    value, ones = (hidden.new_full(shape, start, dtype=torch.float32) for shape, start in (((), 0.0), ((3,), 1.0)))
    likes = [hidden if x is None else x for x in student]
    gradients = [hidden.new_empty(x.shape if w else (0,), dtype=kept_dtype(x.dtype)) for x, w in zip(likes, wanted)]
    return value, ones, gradients


def _value_and_gradients(
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
    if labels is not None:  # the host waits here, but positions that do not count cost no work
        counting = (labels != ignore_index).nonzero().squeeze(1)
        hidden, teacher_hidden, labels = (x.index_select(0, counting) for x in (hidden, teacher_hidden, labels))
    bias, teacher_bias = (None if x is None else x.contiguous() for x in (bias, teacher_bias))
    if not hidden.shape[0] or not weight.shape[0]:
        return value, ones, [x.zero_() for x in gradients]
    student, teacher = [hidden, weight, bias], [teacher_hidden, teacher_weight, teacher_bias]
    with device_of(hidden), without_autocast(hidden.device), ieee_products():
        chunks = VocabularyChunks(student, teacher, temperature, labels, alpha_ce)
        for c in chunks.columns:
            for r in chunks.rows:
                chunks.accumulate(r, c)
        chunks.finish(value)
        if chunks.labels is not None:  # a kernel cannot raise an error for a wrong label, so the value becomes NaN
            outside = ((chunks.labels < 0) | (chunks.labels >= weight.shape[0])).any()
            value.masked_fill_(outside, torch.nan)
        if any(wanted):
            _differentiate(chunks, counting, wanted, gradients)
    return value, ones, gradients


def _differentiate(
    chunks: VocabularyChunks, counting: Tensor | None, wanted: list[bool], gradients: list[Tensor]
) -> None:
    """Fill the wanted gradients, for an upstream gradient of 1."""
    d_hidden, d_weight, d_bias = gradients
    hidden, weight, of_mean = chunks.hidden, chunks.weight, 1.0 / chunks.n
    buffer = torch.empty_like(chunks.student, dtype=hidden.dtype if hidden.dtype == weight.dtype else torch.float32)
    of_hidden = accumulator = d_hidden
    if wanted[0] and (counting is not None or d_hidden.dtype != torch.float32):
        of_hidden = torch.empty(hidden.shape, dtype=torch.float32, device=hidden.device)
    direct = len(chunks.rows) == 1 or d_weight.dtype == torch.float32
    if wanted[1] and not direct:
        accumulator = d_weight.new_empty(chunks.columns[0].stop, d_weight.shape[1], dtype=torch.float32)
    for c in reversed(chunks.columns):
        of_weight = part(d_weight, c) if direct else accumulator[: c.stop - c.start]
        weight_c, of_bias = part(weight, c), None
        for r in reversed(chunks.rows):
            d_logits = chunks.differentiate(r, c, buffer)
            if wanted[0]:
                add_product(part(of_hidden, r), d_logits, weight_c, of_mean, first=c is chunks.columns[-1])
            if wanted[1]:
                add_product(of_weight, d_logits.t(), part(hidden, r), of_mean, first=r is chunks.rows[-1])
            if wanted[2]:
                more = d_logits.sum(0, dtype=torch.float32)
                of_bias = more if of_bias is None else of_bias.add_(more)
        if wanted[1] and not direct:
            d_weight[c].copy_(of_weight)
        if of_bias is not None:
            torch.mul(of_bias, of_mean, out=d_bias[c])
    if wanted[0] and counting is not None:
        d_hidden.zero_().index_copy_(0, counting, of_hidden.to(d_hidden.dtype))
    elif of_hidden is not d_hidden:
        d_hidden.copy_(of_hidden)


_forward = torch.library.custom_op(
    "bistil_kernels::linear_distillation_kl",
    _value_and_gradients,
    mutates_args=(),
    schema="(Tensor hidden, Tensor weight, Tensor? bias, Tensor teacher_hidden, Tensor teacher_weight,"
    " Tensor? teacher_bias, float temperature, Tensor? labels, float alpha_ce, int ignore_index, bool[] wanted)"
    " -> (Tensor, Tensor, Tensor[])",
)


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
