"""Made-up sparse fine-tunings, and a model that they fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForMaskedLM, PreTrainedModel

from bistil_ds.models.parameters import saved_parameters
from bistil_ds.sft.fine_tuning import SparseDiff, SparseFineTuning

EMBEDDINGS, DENSE = "bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.intermediate.dense.weight"
CONFIG = BertConfig(
    vocab_size=40,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=12,
    max_position_embeddings=16,
)


def small_model() -> BertForMaskedLM:
    torch.manual_seed(0)
    return BertForMaskedLM(CONFIG).eval()


def random_diff(shape: tuple[int, ...], entries: int, seed: int = 0) -> SparseDiff:
    """Return normally distributed differences (standard deviation 0.1) at `entries` random entries of a parameter."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(int(np.prod(shape)), generator=generator)[:entries].sort().values
    return SparseDiff(shape, chosen, 0.1 * torch.randn(entries, generator=generator))


def random_sft(model: PreTrainedModel, seed: int = 0, *, share: float = 0.1, **metadata: Any) -> SparseFineTuning:
    """Return an SFT that changes `share` of each matrix of the base model, with a random head if the model has one."""
    prefix, generator = f"{model.base_model_prefix}.", torch.Generator().manual_seed(seed)
    sparse, dense = {}, {}
    for name, parameter in saved_parameters(model).items():
        if not name.startswith(prefix):
            dense[name] = 0.1 * torch.randn(parameter.shape, generator=generator)
        elif parameter.dim() == 2:
            sparse[name] = random_diff(tuple(parameter.shape), int(share * parameter.numel()), seed)
    return SparseFineTuning(f"random {seed}", sparse, dense, metadata)


def small_sft() -> SparseFineTuning:
    """Return an SFT for `small_model`, with a head that this model does not have."""
    sparse = {EMBEDDINGS: random_diff((40, 8), 30), DENSE: random_diff((12, 8), 20, seed=1)}
    return SparseFineTuning("toy", sparse, {"classifier.weight": torch.ones(3, 8)}, {"languages": ["tr"]})


def write_published(folder: Path, dense_diffs: dict[str, torch.Tensor], heads: dict[str, torch.Tensor]) -> None:
    """Write an SFT in the published code's encoding.

    Flat indices are column-major, and each is stored as the step from the one before it, the first as a numpy int64.
    """
    diffs = {}
    for name, difference in dense_diffs.items():
        column_major = difference.permute(*reversed(range(difference.dim()))).reshape(-1)
        flat = np.flatnonzero(column_major.numpy())
        steps = [flat[0], *np.diff(flat).tolist()] if len(flat) else []
        diffs[name] = {"size": difference.size(), "index_steps": steps, "values": column_major[flat]}
    torch.save({"diffs": diffs, "abs": heads}, folder / "pytorch_diff.bin")
