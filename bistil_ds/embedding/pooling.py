"""Pool the last hidden states of a batch into one vector for each sequence, as sentence-transformers does.

Shapes: B sequences, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def _first(states_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    return _at(states_BTD, mask_BT.argmax(1))


def _last(states_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    return _at(states_BTD, mask_BT.cumsum(1).int().argmax(1))  # the first of the largest sums


def _max(states_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    return states_BTD.masked_fill(mask_BT[..., None] == 0, float("-inf")).amax(1)


def _mean(states_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    return _weighted(states_BTD, mask_BT.float(), 1.0)


def _mean_sqrt(states_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    return _weighted(states_BTD, mask_BT.float(), 0.5)


def _by_position(states_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    return _weighted(states_BTD, (mask_BT.cumsum(1) * mask_BT).float(), 1.0)


# mode, as sentence-transformers calls it → function (states, mask) → vectors [B, D]; joined in this order
MODES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": _first,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean": _by_position,
    "lasttoken": _last,
}


def pool(states_BTD: Tensor, mask_BT: Tensor | None, modes: Sequence[str]) -> Tensor:
    """Pool hidden states into one vector for each sequence.

    Example:
        >>> pool(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[1, 1, 0]]), ["mean", "max"])
        tensor([[2., 3.]])

    Args:
        states_BTD: hidden states, fp32, fp16 or bf16.
        mask_BT: 1 (or True) on real tokens, of which a sequence has at least one; None: all tokens are real.
        modes: names of `MODES`.

    Returns:
        fp32 [B, D · number of modes]; the vectors of several modes are joined in the order of `modes`.

    Source: `Pooling` of sentence-transformers 6.2.
    """
    if mask_BT is None:
        mask_BT = torch.ones(states_BTD.shape[:2], dtype=torch.int32, device=states_BTD.device)
    mask_BT = mask_BT.int()  # ONNX Runtime has no argmax of 64-bit integers
    return torch.cat([MODES[mode](states_BTD.float(), mask_BT) for mode in modes], dim=-1)


def _at(states_BTD: Tensor, place_B: Tensor) -> Tensor:
    index_B1D = place_B.long()[:, None, None].expand(-1, 1, states_BTD.shape[-1])
    return states_BTD.gather(1, index_B1D).squeeze(1)


def _weighted(states_BTD: Tensor, weights_BT: Tensor, power: float) -> Tensor:
    """Return the weighted sum of the states, divided by a power of the sum of the weights."""
    total_B1 = weights_BT.sum(1, keepdim=True).clamp(min=1e-9)
    return (states_BTD * weights_BT[..., None]).sum(1) / total_B1**power
