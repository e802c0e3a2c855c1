"""How many of the logits [n, V] the linear form works on at once.

Large chunks mean few launches and products of many tiles; small ones little memory, and logits that stay in the L2
cache. Of an H200's 50 MB and an A100's 40 MB of it, `CHUNK` logits of both heads are 34 MB, and 128 tiles: about one to
each processor. From `CHUNK · SHARE` logits on, chunks grow up to `MOST_WAVES` tiles a processor, beyond the cache, and
so are written to memory and read back. But a product of one tile a processor has nothing to hide its first loads and
last stores behind, and 32,768 × 250,000 logits would take 3,936 rounds of launches, instead of 960. In bf16 what a
chunk needs, 10 bytes a logit, stays under 2 % of the 24·n·V bytes of eager PyTorch where it is more than 42 MB.
"""

from __future__ import annotations

import torch

CHUNK = 1 << 22  # logits of the student a chunk may always have: 16 MiB
SHARE = 24  # otherwise it is one of so many, at least
MOST_ROWS = 2048
TILE = (128, 256)  # the logits a processor makes at a time, usually, in a product of cuBLAS
MOST_WAVES = 4


def processors(device: torch.device) -> int:
    """The multiprocessors of a GPU."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def chunk_shape(n: int, V: int, processors: int) -> tuple[int, int]:
    """Rows and columns of each chunk but the last ones. Rows: all, or about equally many in each; columns: all, or so
    that their tiles come in whole waves over the processors, where a chunk can hold a wave."""
    high, wide = TILE
    rows = -(-n // -(-n // MOST_ROWS))
    if rows < n:
        rows = min(MOST_ROWS, -(-rows // high) * high)
    logits = max(CHUNK, min(n * V // SHARE, MOST_WAVES * processors * high * wide))
    columns = max(1, logits // rows)
    if columns >= V:
        return rows, V
    tiles = -(-rows // high)  # above each other
    waves = columns // wide * tiles // processors
    whole = waves * processors // tiles * wide
    return rows, whole or columns - (columns % 64 if columns > 64 else 0)
