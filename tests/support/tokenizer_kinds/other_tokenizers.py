"""Tokenizers of every kind that a teacher may have, trained on the text of `tiny`."""

from __future__ import annotations

import json

from tiny import SYLLABLES, text_lines, unigram_tokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

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


def every_tokenizer() -> dict[str, PreTrainedTokenizerBase]:
    """Return tokenizers of the generic class and of each family's own, and some with tokens that a user added."""
    words, pieces, added = wordpiece_tokenizer(), byte_level_tokenizer(), unigram_tokenizer()
    scored, merged = (json.loads(each.backend_tokenizer.to_str())["model"] for each in (added, pieces))
    merges = [tuple(merge) for merge in merged["merges"]]
    bert = BertTokenizer(vocab=words.get_vocab(), do_lower_case=False)
    for tokenizer in (added, bert):
        tokenizer.add_special_tokens({"extra_special_tokens": ["<entity>"]})
        tokenizer.add_tokens(["dog"])
    return {
        "unigram": unigram_tokenizer(),
        "unigram with added tokens": added,
        "WordPiece": words,
        "byte level": pieces,
        "XLM-R": XLMRobertaTokenizer(vocab=[*(tuple(each) for each in scored["vocab"]), ("<mask>", 0.0)]),
        "BERT": BertTokenizer(vocab=words.get_vocab(), do_lower_case=False),
        "BERT, lower case": BertTokenizer(vocab=words.get_vocab(), do_lower_case=True),
        "BERT with added tokens": bert,
        "RoBERTa": RobertaTokenizer(vocab=merged["vocab"], merges=merges, add_prefix_space=True),
    }
