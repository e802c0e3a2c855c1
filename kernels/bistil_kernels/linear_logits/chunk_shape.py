"""Choose how many of the logits [n, V] of n positions form one chunk.

Large chunks need few launches, and their products have many tiles. Small chunks need little memory, and their logits
stay in the L2 cache. `CHUNK` logits of both heads take 34 MB of the 50 MB of an H200's cache (40 MB on an A100). A head
then has 128 tiles, about one for each multiprocessor. Where n·V is above `CHUNK · SHARE`, chunks grow up to
`MOST_WAVES` tiles a processor. They then exceed the cache, and are written to memory and read back. That is worth it: a
product of one tile a processor cannot hide its first loads and last stores, and 32,768 × 250,000 logits would take
3,936 rounds of launches in both sweeps, instead of 960. In bf16 a chunk needs 10 bytes a logit. Where that is more than
42 MB, it is less than 2 % of the 24·n·V bytes of eager PyTorch.
"""

from __future__ import annotations

import torch

CHUNK = 1 << 22  # logits of a head that a chunk may always have: 16 MiB
SHARE = 24  # a larger chunk has at most 1 / SHARE of all logits
MOST_ROWS = 2048
TILE = (128, 256)  # rows and columns of logits that a processor usually computes at a time in a product by cuBLAS
MOST_WAVES = 4


def processors(device: torch.device) -> int:
    """Return the number of multiprocessors of a GPU; 1 for another device."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def chunk_shape(n: int, V: int, processors: int) -> tuple[int, int]:
    """Return the number of rows and of columns of each chunk; the last chunks may have fewer.

    A chunk has all n rows, or at most MOST_ROWS, so chosen that chunks have about equally many. It has all V columns,
    or so many that each processor gets about the same number of tiles, if there is a tile for each.
    """
    high, wide = TILE
    rows = -(-n // -(-n // MOST_ROWS))
    if rows < n:
        rows = min(MOST_ROWS, -(-rows // high) * high)
    logits = max(CHUNK, min(n * V // SHARE, MOST_WAVES * processors * high * wide))
    columns = max(1, logits // rows)
    if columns >= V:
        return rows, V
    tiles = -(-rows // high)  # in each column of tiles
    waves = columns // wide * tiles // processors
    whole = waves * processors // tiles * wide
    return rows, whole or columns - (columns % 64 if columns > 64 else 0)
