"""Count what a sliding window leaves of attention maps. A query sees the keys at most `window` tokens away from it."""

from __future__ import annotations

import torch
from torch import Tensor


def bounded(window: int | None, T: int) -> int | None:
    """Return the window, or None if it hides no key of a sequence of T tokens."""
    return None if window is None or window >= T - 1 else window


def pairs_within(window: int | None, T: int) -> int:
    """Return how many (query, key) pairs of a sequence of T tokens are seen: T² without a window."""
    window = bounded(window, T)
    return T * T if window is None else T * (2 * window + 1) - window * (window + 1)


def counted_within(window: int, mask_BT: Tensor, kl: bool, mask_queries: bool) -> Tensor:
    """Return how many entries ("mse") or rows (`kl`) the loss includes in the maps of one head, over all sequences.

    The number is an int64 scalar on the mask's device, so that the host need not wait for it.
    """
    T = mask_BT.shape[1]
    before = torch.nn.functional.pad(mask_BT.cumsum(1), (1, 0))  # real keys before each token
    token = torch.arange(T, device=mask_BT.device)
    keys_BT = before[:, (token + window + 1).clamp(max=T)] - before[:, (token - window).clamp(min=0)]
    counted = (keys_BT > 0).long() if kl else keys_BT
    return (counted * mask_BT).sum() if mask_queries else counted.sum()
