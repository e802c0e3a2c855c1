"""Losses of sentence vectors: a student's against its teacher's, text by text and between the texts of a batch.

Shapes: B texts, E and F values of a student's and a teacher's vector. Vectors are fp32; no gradient flows to the
teacher's. Every loss is a scalar, 0 at best.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from bistil_kernels import distillation_kl
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

ITSELF = -1e4  # cosine of a text with itself, which says nothing


def vector_cosine(ours_BE: Tensor, theirs_BE: Tensor, temperature: float) -> Tensor:
    """Return the mean of 1 − cosine of a text's two vectors."""
    return (1 - cosine_similarity(ours_BE, theirs_BE, dim=-1)).mean()


def vector_mse(ours_BE: Tensor, theirs_BE: Tensor, temperature: float) -> Tensor:
    """Return the squared error of the vectors, divided by the squared length of the teacher's.

    So the loss does not depend on the scale of the vectors. For vectors of length 1 it is 2 · (1 − cosine).

    Source: Reimers and Gurevych (arXiv 2004.09813), equation 1, without the division.
    """
    return (ours_BE - theirs_BE).square().sum() / theirs_BE.square().sum().clamp(min=1e-12)


def similarity(ours_BE: Tensor, theirs_BF: Tensor, temperature: float) -> Tensor:
    """Return the mean KL(teacher || student) between the similarities of each text to the other texts of the batch.

    The similarities of a text are the softmax of its cosines to the others, divided by `temperature`. The vectors may
    have different dimensions. A batch of one text gives 0.
    """
    if len(ours_BE) < 2:
        return ours_BE.sum() * 0.0
    ours_BB, theirs_BB = (_cosines(vectors) for vectors in (ours_BE, theirs_BF))
    return distillation_kl(ours_BB, theirs_BB, temperature=temperature)


# name of a loss → function (student's vectors, teacher's vectors, temperature of `similarity`)
VECTOR_LOSSES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "vector_cosine": vector_cosine,
    "vector_mse": vector_mse,
    "similarity": similarity,
}


def _cosines(vectors_BE: Tensor) -> Tensor:
    unit_BE = normalize(vectors_BE, dim=-1)
    itself_BB = torch.eye(len(unit_BE), dtype=torch.bool, device=unit_BE.device)
    return (unit_BE @ unit_BE.T).masked_fill(itself_BB, ITSELF)
