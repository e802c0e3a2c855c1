"""Learn a unigram vocabulary from text, and make a tokenizer from it, with the special tokens of XLM-R."""

from __future__ import annotations

import io
from collections.abc import Iterable

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from bistil_ds.errors import InputError

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")  # ids 0 to 3; <mask> is last


def train_unigram_tokenizer(lines: Iterable[str], vocab_size: int, max_length: int) -> PreTrainedTokenizerFast:
    """Learn a unigram vocabulary with sentencepiece, and return a tokenizer with it.

    Token ids: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, then the learned pieces, and `<mask>` last. The same lines give
    the same tokenizer. If the text has too few pieces, the vocabulary is smaller than `vocab_size`.

    Args:
        vocab_size: number of tokens, special ones included.
        max_length: the longest input of the model, in tokens.

    Raises:
        InputError: `vocab_size` is too small for the characters of the text.
    """
    trained = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=trained,
            model_type="unigram",
            vocab_size=vocab_size - len(SPECIAL_TOKENS),  # counts sentencepiece's own <unk>; <mask> takes its place
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="nfkc",
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            unk_id=0,
            num_threads=1,  # with several threads, sums differ in their last bits
            minloglevel=2,
        )
    except RuntimeError as error:
        raise InputError(
            f"--vocab_size {vocab_size}: no vocabulary of this size: {' '.join(str(error).split())}"
        ) from None
    model = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    pieces = [(model.IdToPiece(i), model.GetScore(i)) for i in range(1, model.GetPieceSize())]
    return xlmr_tokenizer(pieces, max_length)


def xlmr_tokenizer(pieces: list[tuple[str, float]], max_length: int) -> PreTrainedTokenizerFast:
    """Build a tokenizer from (piece, log-probability) pairs, which do not include the special tokens."""
    vocab = [(token, 0.0) for token in SPECIAL_TOKENS] + pieces
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=SPECIAL_TOKENS.index("<unk>"), byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    tokenizer.add_special_tokens([AddedToken("<mask>", special=True, normalized=False, lstrip=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token=AddedToken("<mask>", special=True, normalized=False, lstrip=True),
        model_max_length=max_length,
    )
