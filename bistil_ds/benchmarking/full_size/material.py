"""Generate a teacher of full size with random weights, its vocabulary, and two corpora."""

from __future__ import annotations

import random
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaTokenizer,
)

from bistil_ds.models.tokenizer_folder import save_tokenizer

MODELS = ("xlm-roberta-base", "bert-base-multilingual-cased")
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz",
    "абвгдежзийклмнопрстуфхцчшщыэюя",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "अआइईउएकखगघचजटडतदनपबमयरलवसह",
)


def make_pieces(count: int, prefix: str, suffix: str) -> list[str]:
    """Return the `count` pieces of a vocabulary: each script's letters, then random strings of 2 to 8 letters.

    Both marks stand before a piece: `prefix` if the piece starts a word, `suffix` if it continues one. Each kind is
    about half of all.
    """
    draw = random.Random(0)
    pieces = dict.fromkeys(mark + letter for alphabet in ALPHABETS for letter in alphabet for mark in (prefix, suffix))
    while len(pieces) < count:
        alphabet = draw.choice(ALPHABETS)
        word = "".join(draw.choices(alphabet, k=draw.randint(2, 8)))
        pieces[draw.choice((prefix, suffix)) + word] = None
    return list(pieces)[:count]


def make_corpus(path: Path, alphabet: str, starts: list[str], lines: int) -> None:
    """Write `lines` lines of 20 words. The words are made of the pieces in `starts` that `alphabet` can spell.

    Earlier pieces are more frequent. In each line, 18 words are one piece each, and two words are two pieces each.
    """
    draw = random.Random(alphabet)
    words = [word for word in starts if set(word) <= set(alphabet)]
    weights = list(accumulate(1 / (rank + 10) for rank in range(len(words))))
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(lines):
            chosen = draw.choices(words, cum_weights=weights, k=22)
            file.write(" ".join([*chosen[:18], chosen[18] + chosen[19], chosen[20] + chosen[21]]) + "\n")


def prepare(name: str, folder: Path, quick: bool) -> dict[str, Any]:
    """Write model, tokenizer and corpora below `folder`; return the size of the vocabulary as `rows`."""
    torch.manual_seed(0)
    small = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 128}
    shape = small if quick else {}
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    if name == MODELS[0]:
        size = 5_000 if quick else 250_002
        pieces = make_pieces(size - 5, "▁", "")
        specials = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")]
        scored = [(piece, -4.0 - 12.0 * rank / size) for rank, piece in enumerate(pieces)]
        tokenizer = XLMRobertaTokenizer(vocab=[*specials, *scored, ("<mask>", 0.0)])
        starts = [piece[1:] for piece in pieces if piece.startswith("▁")]
        shape |= {"max_position_embeddings": 514, "type_vocab_size": 1}
        model = XLMRobertaForMaskedLM(XLMRobertaConfig(vocab_size=size, layer_norm_eps=1e-5, **shape))
    else:
        size = 5_000 if quick else 119_547
        head = ["[PAD]", *(f"[unused{i}]" for i in range(1, 100)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        pieces = make_pieces(size - len(head), "", "##")
        tokenizer = BertTokenizer(vocab={piece: i for i, piece in enumerate([*head, *pieces])}, do_lower_case=False)
        starts = [piece for piece in pieces if not piece.startswith("##")]
        model = BertForMaskedLM(BertConfig(vocab_size=size, **shape))
    assert len(tokenizer) == size
    model.save_pretrained(folder / "teacher")
    save_tokenizer(tokenizer, folder / "teacher")
    for language, alphabet in (("source", ALPHABETS[0]), ("target", ALPHABETS[1])):
        make_corpus(folder / f"{language}.txt", alphabet, starts, 2_000 if quick else 100_000)
    return {"rows": size}
