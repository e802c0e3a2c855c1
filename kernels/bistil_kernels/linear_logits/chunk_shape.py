"""Choose how many of the logits [n, V] of n positions form one chunk.

Large chunks need few launches, and their products have many tiles. Small chunks need little memory, and their logits
stay in the L2 cache. A chunk of `CHUNK` logits of each of the two heads takes 34 MB; the cache of an H200 has 50 MB,
that of an A100 40 MB. The logits of a head then form 128 tiles, about one for each multiprocessor.

If n·V is above `CHUNK · SHARE`, chunks grow, up to `MOST_WAVES` tiles for each multiprocessor. They then exceed the
cache, so they are written to memory and read back. This is worth its cost for two reasons. A product with only one tile
for each multiprocessor cannot hide its first loads and last stores. And with small chunks, both sweeps over 32,768 ×
250,000 logits would take 3,936 rounds of launches instead of 960. In bf16 a chunk needs 10 bytes for each logit of
a head. For a chunk that has grown, this is less than 2 % of the 24·n·V bytes that eager PyTorch needs.
"""

from __future__ import annotations

import torch

CHUNK = 1 << 22  # number of a head's logits that a chunk may always have: 16 MiB
SHARE = 24  # a larger chunk has at most 1 / SHARE of all logits
MOST_ROWS = 2048
TILE = (128, 256)  # rows and columns of logits that cuBLAS usually computes as one tile, on one multiprocessor
MOST_WAVES = 4


def processors(device: torch.device) -> int:
    """Return the number of multiprocessors of a GPU; 1 for any other device."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def chunk_shape(n: int, V: int, processors: int) -> tuple[int, int]:
    """Return the number of rows and of columns of each chunk; the last chunks may have fewer.

    If n is above MOST_ROWS, the rows are divided about equally among the chunks. If a chunk cannot have all V columns,
    it gets a number of columns that gives every multiprocessor about equally many tiles. If a chunk is too small to
    give each a tile, its columns are only rounded down to a multiple of 64.
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
