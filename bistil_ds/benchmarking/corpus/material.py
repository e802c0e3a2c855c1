"""Generate a corpus of any size, and a tokenizer of any size for it."""

from __future__ import annotations

import random
from itertools import accumulate, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerBase, XLMRobertaTokenizer

from bistil_ds.benchmarking.full_size.material import ALPHABETS, make_pieces

WORDS = 200_000  # different words of a corpus
WORDS_A_LINE = 20
WORDS_AT_ONCE = 200_000  # drawn at once
SHAPES = ("lines", "documents", "words", "one")


def make_tokenizer(size: int) -> PreTrainedTokenizerBase:
    """Return a unigram tokenizer like XLM-R's with `size` generated pieces in four scripts."""
    pieces = make_pieces(size - 5, "▁", "")
    specials = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")]
    scored = [(piece, -4.0 - 12.0 * rank / size) for rank, piece in enumerate(pieces)]
    return XLMRobertaTokenizer(vocab=[*specials, *scored, ("<mask>", 0.0)])


def make_words(tokenizer: PreTrainedTokenizerBase, count: int = WORDS) -> list[str]:
    """Return `count` different words in Latin letters, of one to three of the tokenizer's pieces.

    Earlier pieces are more frequent in them.
    """
    draw = random.Random(0)
    letters = set(ALPHABETS[0])
    pieces = [bare for piece in tokenizer.get_vocab() if (bare := piece.removeprefix("▁")) and set(bare) <= letters]
    pieces = sorted(set(pieces), key=lambda piece: (len(piece), piece))
    weights = list(accumulate(1 / (rank + 10) for rank in range(len(pieces))))
    words = dict.fromkeys("".join(draw.choices(pieces, cum_weights=weights, k=k)) for k in (1, 2, 2, 3) * (2 * count))
    return list(islice(words, count))


def write_corpus(folder: Path, size: int, shape: str, words: list[str]) -> tuple[Path, int]:
    """Write a corpus of about `size` bytes, in which earlier words are more frequent; return its file and size.

    Args:
        shape: one of SHAPES: lines of 20 words, documents (lines of 2,000 words), one word a line, or all in one text,
            which is a Parquet file, because a plain line of over 16 MiB is refused.
    """
    draw = np.random.default_rng(0)
    shares = 1 / (np.arange(len(words)) + 10)
    ends = np.cumsum(shares / shares.sum())
    encoded = np.array([word.encode() for word in words], object)
    in_line = {"documents": 100 * WORDS_A_LINE, "words": 1}.get(shape, WORDS_A_LINE)
    path = folder / "corpus.txt"
    written = 0
    with open(path, "wb") as file:
        while written < size:
            chosen = np.searchsorted(ends, draw.random(WORDS_AT_ONCE)).clip(max=len(words) - 1)
            for row in encoded[chosen].reshape(-1, in_line):
                written += file.write(b" ".join(row) + (b" " if shape == "one" else b"\n"))
                if written >= size:
                    break
    if shape == "one":
        table = pa.table({"text": [path.read_text(encoding="utf-8")]})
        path.unlink()
        path = folder / "corpus.parquet"
        pq.write_table(table, path)
    return path, written
