"""Sparse fine-tuning: choose K entries of a model's weights and train only those (LT-SFT, arXiv 2110.07560)."""

from bistil_ds.sparse.arguments import SparseArguments
from bistil_ds.sparse.deltas import SparseDeltas, attach
from bistil_ds.sparse.maskable import maskable_count
from bistil_ds.sparse.selection import moved_most, random_entries

__all__ = [
    "SparseArguments",
    "SparseDeltas",
    "attach",
    "maskable_count",
    "moved_most",
    "random_entries",
]
