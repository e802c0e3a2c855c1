"""Linear and embedding modules that train K entries of a weight.

The forward pass reads only the weight, which already holds start value + delta. The backward pass gives the gradient of
the K entries to the delta. The dense gradient of a linear weight exists only during the module's backward; an embedding
never computes a dense gradient.

Names of axes: N input vectors (all leading dimensions flattened), I inputs, O outputs, V embedding rows, D width, K
trained entries.
"""

from __future__ import annotations

from typing import Any

import torch
from bistil_kernels import SparseDelta, gather_at
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from bistil_ds.errors import InputError

DELTA = "_delta"  # the delta of a parameter `weight` is a parameter `weight_delta` of the same module


class SparseLinear(nn.Linear):
    """`nn.Linear` with a frozen weight and bias, each with or without trained entries."""

    weight_delta: nn.Parameter | None
    bias_delta: nn.Parameter | None
    trained: dict[str, SparseDelta]

    def forward(self, input: Tensor) -> Tensor:
        indices = [self.trained[name].indices_K if name in self.trained else None for name in ("weight", "bias")]
        result: Tensor = _Linear.apply(input, self.weight, self.bias, self.weight_delta, self.bias_delta, *indices)
        return result


class SparseEmbedding(nn.Embedding):
    """`nn.Embedding` with a frozen weight that has trained entries."""

    weight_delta: nn.Parameter
    trained: dict[str, SparseDelta]

    def forward(self, input: Tensor) -> Tensor:
        indices_K = self.trained["weight"].indices_K
        result: Tensor = _Embedding.apply(input, self.weight, self.weight_delta, indices_K, self.padding_idx)
        return result


def sparse_kind(module: nn.Module, place: str) -> type[SparseLinear | SparseEmbedding]:
    """Return the sparse class for `module`; `place` is the module's name in its model.

    Raises:
        InputError: the module is no plain Linear or Embedding, so how it uses its weights is unknown.
    """
    plain = isinstance(module, nn.Embedding) and module.max_norm is None and not module.scale_grad_by_freq
    if type(module) is nn.Linear:
        return SparseLinear
    if type(module) is nn.Embedding and plain and not module.sparse:
        return SparseEmbedding
    raise InputError(
        f"{place} is a {type(module).__name__}: sparse training knows plain Linear and Embedding modules only"
    )


def make_sparse(module: nn.Module, place: str) -> SparseLinear | SparseEmbedding:
    """Turn `module` into its sparse class, in place; no entry trains yet. `place` is its name in the model.

    Raises:
        InputError: from `sparse_kind`.
    """
    if isinstance(module, (SparseLinear, SparseEmbedding)):
        return module
    module.__class__ = sparse_kind(module, place)
    if isinstance(module, SparseLinear):
        module.register_parameter(f"bias{DELTA}", None)
    module.register_parameter(f"weight{DELTA}", None)
    module.trained = {}  # type: ignore[assignment]
    return module  # type: ignore[return-value]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight_OI: Tensor,
        bias_O: Tensor | None,
        weight_delta_K: Tensor | None,
        bias_delta_K: Tensor | None,
        weight_indices_K: Tensor | None,
        bias_indices_K: Tensor | None,
    ) -> Tensor:
        kind = input.device.type
        if torch.is_autocast_enabled(kind):
            input = input.to(torch.get_autocast_dtype(kind))
        # Save the parameter, not a view of it: at ZeRO-3 the parameter is empty until backward gathers it again.
        ctx.save_for_backward(input, weight_OI, weight_indices_K, bias_indices_K)
        bias_O = bias_O.to(input.dtype) if bias_O is not None else None
        return functional.linear(input, weight_OI.to(input.dtype), bias_O)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        input, weight_OI, weight_indices_K, bias_indices_K = ctx.saved_tensors
        into_input = into_weight = into_bias = None
        if ctx.needs_input_grad[0]:
            into_input = gradient @ weight_OI.to(gradient.dtype)
        gradient_NO = gradient.reshape(-1, gradient.shape[-1])
        if ctx.needs_input_grad[3]:
            into_weight = gather_at(gradient_NO.T @ input.reshape(-1, input.shape[-1]), weight_indices_K)
        if ctx.needs_input_grad[4]:
            into_bias = gather_at(gradient_NO.sum(0), bias_indices_K)
        return into_input, None, None, into_weight, into_bias, None, None


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, ids: Tensor, weight_VD: Tensor, delta_K: Tensor, indices_K: Tensor, padding_id: int | None
    ) -> Tensor:
        ctx.save_for_backward(ids, indices_K)
        ctx.rows, ctx.padding_id = weight_VD.shape[0], padding_id
        return functional.embedding(ids, weight_VD)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        ids, indices_K = ctx.saved_tensors
        ids_N, width = ids.reshape(-1), gradient.shape[-1]
        # An id may occur several times. Sum its gradients in the row of one occurrence; so no V×D gradient is needed.
        place_V = ids_N.new_full((ctx.rows,), -1)
        place_V[ids_N] = torch.arange(len(ids_N), device=ids.device)
        sums_ND = torch.zeros(len(ids_N), width, device=gradient.device)
        sums_ND.index_add_(0, place_V[ids_N], gradient.reshape(-1, width).float())
        if ctx.padding_id is not None:
            place_V[ctx.padding_id] = -1
        row_K = indices_K.long() // width
        place_K = place_V[row_K]
        values_K = sums_ND.view(-1)[place_K.clamp(min=0) * width + indices_K - row_K * width]
        return None, None, values_K.where(place_K >= 0, 0.0), None, None
