"""Cut token ids into chunks of one length, for packing, pretraining and masked language modelling.

Shapes: N chunks in an array, T tokens in a chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

TOKENS_AT_ONCE = 1 << 20


def cut(
    texts: Iterable[Sequence[int] | np.ndarray],
    length: int,
    *,
    at_once: int = TOKENS_AT_ONCE,
    keep_rest: bool = False,
) -> Iterator[np.ndarray]:
    """Lay the token ids of all texts end to end, cut them every `length` tokens, and yield the chunks in order.

    Args:
        texts: the token ids of each text, or of several texts laid end to end.
        length: tokens in a chunk.
        at_once: number of tokens after which an array is yielded; so a corpus need not fit in memory.
        keep_rest: at the end, also yield the tokens that do not fill a chunk, as an array with one shorter chunk.

    Yields:
        int32 [N, T]; N varies, and is at least 1.
    """
    waiting: list[np.ndarray] = []
    tokens = 0
    for ids in texts:
        waiting.append(np.asarray(ids, dtype=np.int32))
        tokens += len(ids)
        if tokens >= max(at_once, length):
            joined = np.concatenate(waiting)
            whole = tokens // length * length
            yield joined[:whole].reshape(-1, length)
            waiting, tokens = [joined[whole:]], tokens - whole
    whole = tokens // length * length
    joined = np.concatenate([np.empty(0, np.int32), *waiting])
    if whole:
        yield joined[:whole].reshape(-1, length)
    if keep_rest and tokens > whole:
        yield joined[whole:].reshape(1, -1)
