"""Tokenizers of other kinds than XLM-R's (`tiny.unigram_tokenizer`), trained on the same text."""

from __future__ import annotations

from tiny import SYLLABLES, text_lines
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

LINES = [line for language in SYLLABLES for line in text_lines(language, 300)]


def wordpiece_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer like BERT's: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4; second sentences have type 1."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        LINES, trainers.WordPieceTrainer(vocab_size=120, special_tokens=specials, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), specials))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer like RoBERTa's: <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> 4.

    The first piece of a word includes the space before it.
    """
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", "<s> $A </s> </s> $B </s>", [("<s>", 0), ("</s>", 2)]
    )
    names = dict(zip(("cls_token", "pad_token", "sep_token", "unk_token", "mask_token"), specials))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
