"""Choose how many of the logits [n, V] form one chunk.

Large chunks need few launches, and their products have many tiles. Small chunks need little memory, and their logits
stay in the L2 cache. `CHUNK` logits of both heads take 34 MB of the 50 MB of an H200's cache (40 MB on an A100), and
are 128 tiles, about one for each processor. From `CHUNK · SHARE` logits on, chunks grow up to `MOST_WAVES` tiles a
processor. They then exceed the cache, and are written to memory and read back. That is worth it: a product of one
tile a processor cannot hide its first loads and last stores, and 32,768 × 250,000 logits would take 3,936 rounds of
launches, instead of 960. In bf16 a chunk needs 10 bytes a logit. Where that is more than 42 MB, it is less than 2 % of
the 24·n·V bytes of eager PyTorch.
"""

from __future__ import annotations

import torch

CHUNK = 1 << 22  # student logits that a chunk may always have: 16 MiB
SHARE = 24  # a larger chunk is at most this fraction of all logits: 1 / SHARE
MOST_ROWS = 2048
TILE = (128, 256)  # logits that a processor usually computes at a time in a product by cuBLAS
MOST_WAVES = 4


def processors(device: torch.device) -> int:
    """Return the number of multiprocessors of a GPU; 1 for another device."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def chunk_shape(n: int, V: int, processors: int) -> tuple[int, int]:
    """Return rows and columns of each chunk; the last ones may be smaller.

    A chunk has all rows, or about equally many as the others. It has all columns, or so many that its tiles are whole
    waves over the processors, if a chunk can hold a wave.
    """
    high, wide = TILE
    rows = -(-n // -(-n // MOST_ROWS))
    if rows < n:
        rows = min(MOST_ROWS, -(-rows // high) * high)
    logits = max(CHUNK, min(n * V // SHARE, MOST_WAVES * processors * high * wide))
    columns = max(1, logits // rows)
    if columns >= V:
        return rows, V
    tiles = -(-rows // high)  # one above the other
    waves = columns // wide * tiles // processors
    whole = waves * processors // tiles * wide
    return rows, whole or columns - (columns % 64 if columns > 64 else 0)
