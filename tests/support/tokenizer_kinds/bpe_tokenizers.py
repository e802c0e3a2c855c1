"""Tokenizers with the two kinds of BPE that multilingual encoders have, trained on given lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
ROLES = ("pad_token", "eos_token", "bos_token", "unk_token", "mask_token")


def byte_level(lines: Iterable[str], size: int, ignore_merges: bool = False) -> PreTrainedTokenizerFast:
    """Return a tokenizer like that of Llama 3 (if `ignore_merges`) or ModernBERT: `size` pieces, then added tokens.

    Runs of spaces are added tokens. Padding has the largest id but one.
    """
    backend = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    backend.normalizer = normalizers.NFC()
    words = pre_tokenizers.Split(Regex(r"\s?\p{L}+|\s?\p{N}{1,3}|\s?[^\s\p{L}\p{N}]+|\s+"), "isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(False, use_regex=False)])
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        lines, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    )
    backend.add_tokens([AddedToken(" " * run, normalized=True) for run in (8, 4, 2)])
    backend.add_special_tokens(["<s>", "</s>", "<unk>", "<pad>", "<mask>"])
    ids = [(token, backend.token_to_id(token)) for token in ("<s>", "</s>")]
    template = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", ids)
    backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return _wrap(backend)


def byte_fallback(lines: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer like Gemma's: every way to split a piece into two pieces is a merge, ranked by the piece's id.

    A whole text is one word. Special tokens come first, then bytes. Runs of spaces are added tokens and pieces.
    """
    lines = [line.replace(" ", "▁") for line in lines]
    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    learner.pre_tokenizer = pre_tokenizers.Split(Regex("▁"), "merged_with_next")
    specials = ["<pad>", "</s>", "<s>", "<unk>", "<mask>"]
    head = [*specials, *BYTES, *("▁" * run for run in range(8, 0, -1))]
    learner.train_from_iterator(
        lines, trainers.BpeTrainer(vocab_size=size, special_tokens=head, limit_alphabet=500, show_progress=False)
    )
    vocab = learner.get_vocab()
    merges = every_split(vocab)
    backend = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    ids = [(token, vocab[token]) for token in ("<s>", "</s>")]
    backend.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", ids)
    backend.add_tokens(["▁▁▁", "▁▁"])
    return _wrap(backend)


def every_split(vocab: dict[str, int]) -> list[tuple[str, str]]:
    """Return every pair of pieces that makes a piece, ordered by the ids of the piece and of the two."""
    found = [
        (i, vocab[piece[:at]], vocab[piece[at:]], (piece[:at], piece[at:]))
        for piece, i in vocab.items()
        for at in range(1, len(piece))
        if piece[:at] in vocab and piece[at:] in vocab
    ]
    return [merge for *_, merge in sorted(found)]


def with_model(tokenizer: PreTrainedTokenizerFast, **settings: Any) -> PreTrainedTokenizerFast:
    """Return a copy whose BPE model has other settings."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["model"].update(settings)
    return _wrap(Tokenizer.from_str(json.dumps(content)))


def _wrap(backend: Tokenizer) -> PreTrainedTokenizerFast:
    names = {"pad": "<pad>", "eos": "</s>", "bos": "<s>", "unk": "<unk>", "mask": "<mask>", "cls": "<s>", "sep": "</s>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, **{f"{role}_token": token for role, token in names.items()}
    )
