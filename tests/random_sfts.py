"""Made-up sparse fine-tunings."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from bistil_ds.model_parameters import saved_parameters
from bistil_ds.sft import SparseDiff, SparseFineTuning


def random_diff(shape: tuple[int, ...], entries: int, seed: int = 0) -> SparseDiff:
    """`entries` of a parameter, moved by normal noise of deviation 0.1."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(int(np.prod(shape)), generator=generator)[:entries].sort().values
    return SparseDiff(shape, chosen, 0.1 * torch.randn(entries, generator=generator))


def random_sft(model: PreTrainedModel, seed: int = 0, *, share: float = 0.1, **metadata: Any) -> SparseFineTuning:
    """`share` of each matrix of the base model moved, and the head, if it has one, drawn anew."""
    prefix, generator = f"{model.base_model_prefix}.", torch.Generator().manual_seed(seed)
    sparse, dense = {}, {}
    for name, parameter in saved_parameters(model).items():
        if not name.startswith(prefix):
            dense[name] = 0.1 * torch.randn(parameter.shape, generator=generator)
        elif parameter.dim() == 2:
            sparse[name] = random_diff(tuple(parameter.shape), int(share * parameter.numel()), seed)
    return SparseFineTuning(f"random {seed}", sparse, dense, metadata)
