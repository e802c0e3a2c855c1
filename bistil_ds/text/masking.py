"""Mask tokens for the logit and masked-LM losses, in the same way on any number of ranks and in a resumed run.

Shapes: B rows of this rank, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mask_tokens(
    input_ids_BT: Tensor,
    maskable_BT: Tensor,
    *,
    seed: int,
    rows: slice,
    total_rows: int,
    mask_token_id: int,
    vocab_size: int,
    probability: float,
) -> tuple[Tensor, Tensor]:
    """Mask tokens as BERT does: of the chosen tokens, 80 % become the mask token, 10 % a random one, and 10 % stay.

    Args:
        input_ids_BT: int64 token ids of this rank's rows.
        maskable_BT: bool, True where a token may be chosen (real and not special).
        seed: seed of the random draw; it should depend on the run and on the micro-step.
        rows: this rank's rows of the global micro-batch.
        total_rows: the rows of the global micro-batch. Every rank draws for all of them, so that the masks do not
            depend on the number of ranks.
        vocab_size: random tokens are drawn from the ids below this number.
        probability: the probability with which each maskable token is chosen.

    Returns:
        The masked ids and the labels, both int64 [B, T]; a label is -100 where no token was chosen.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    shape = (total_rows, input_ids_BT.shape[1])
    chosen, kind = torch.rand((2, *shape), generator=generator).unbind()
    random_ids = torch.randint(vocab_size, shape, generator=generator)
    device = input_ids_BT.device
    chosen_BT = (chosen[rows].to(device) < probability) & maskable_BT
    kind_BT, random_BT = kind[rows].to(device), random_ids[rows].to(device)
    labels_BT = torch.where(chosen_BT, input_ids_BT, -100)
    masked_BT = torch.where(chosen_BT & (kind_BT < 0.8), mask_token_id, input_ids_BT)
    masked_BT = torch.where(chosen_BT & (kind_BT >= 0.9), random_BT, masked_BT)
    return masked_BT, labels_BT
