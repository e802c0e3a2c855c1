"""Tiny teachers with the tokenizers of mBERT and XLM-R, and both kinds of BPE, trained on sentences in five scripts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import datasets
import pytest
import tiny
import torch
from tokenizer_kinds import bpe_tokenizers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    DistilBertConfig,
    DistilBertForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaTokenizer,
)

WORDS = {
    "en": "the a dog cat river mountain sees crosses sleeping slowly under over old stones and birds singing again",
    "tr": "bir köpek kedi nehir dağ görüyor geçiyor uyuyan yavaşça altında üstünde eski taşlar ve kuşlar ağaçların",
    "ru": "собака кошка река гора видит пересекает медленно под над старые камни птицы пели снова деревья",
    "ar": "كلب قطة نهر جبل يرى يعبر نائم ببطء تحت فوق قديم حجارة طيور غنت مرة أخرى",
    "zh": "狗 貓 河 山 看見 過 慢慢 老 石頭 鳥 唱歌 又",
}


def make_sentences(language: str, count: int = 120) -> list[str]:
    rng = random.Random(language)
    words = WORDS[language].split()
    return [" ".join(rng.choices(words, k=rng.randint(3, 9))) + rng.choice(".?!,") for _ in range(count)]


@pytest.fixture(scope="session")
def sentences() -> dict[str, list[str]]:
    return {language: make_sentences(language) for language in WORDS}


@pytest.fixture(scope="session")
def corpora(sentences: dict[str, list[str]]) -> dict[str, datasets.Dataset]:
    return {language: datasets.Dataset.from_dict({"text": texts}) for language, texts in sentences.items()}


@pytest.fixture(scope="session")
def wordpiece(sentences: dict[str, list[str]]) -> PreTrainedTokenizerBase:
    """Return a tokenizer of mBERT's layout: [PAD] 0, unused rows, [UNK] 100, [CLS], [SEP], [MASK] 103, then pieces."""
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer = normalizers.BertNormalizer(lowercase=False)
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=500, show_progress=False, special_tokens=["[UNK]"])
    learner.train_from_iterator([text for texts in sentences.values() for text in texts], trainer)
    pieces = sorted(set(learner.get_vocab()) - {"[UNK]"})
    head = ["[PAD]", *(f"[unused{i}]" for i in range(1, 100)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return BertTokenizer(vocab={piece: i for i, piece in enumerate(head + pieces)}, do_lower_case=False)


@pytest.fixture(scope="session")
def unigram(sentences: dict[str, list[str]]) -> PreTrainedTokenizerBase:
    """Return a tokenizer of XLM-R's layout: <s> 0, <pad> 1, </s> 2, <unk> 3, pieces, <mask> last."""
    learner = Tokenizer(models.Unigram())
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=500, show_progress=False, special_tokens=["<unk>"], unk_token="<unk>")
    learner.train_from_iterator([text for texts in sentences.values() for text in texts], trainer)
    pieces = tiny.in_order(entry for entry in json.loads(learner.to_str())["model"]["vocab"] if entry[0] != "<unk>")
    head = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")]
    return XLMRobertaTokenizer(vocab=[*head, *pieces, ("<mask>", 0.0)])


@pytest.fixture(scope="session")
def byte_level(sentences: dict[str, list[str]]) -> PreTrainedTokenizerBase:
    """Return a byte-level BPE tokenizer whose special tokens, padding among them, have the largest ids."""
    return bpe_tokenizers.byte_level([text for texts in sentences.values() for text in texts], 600)


@pytest.fixture(scope="session")
def byte_fallback(sentences: dict[str, list[str]]) -> PreTrainedTokenizerBase:
    """Return a BPE tokenizer with byte fallback: <pad> 0, other special tokens, bytes, then pieces."""
    return bpe_tokenizers.byte_fallback([text for texts in sentences.values() for text in texts], 700)


@pytest.fixture(params=["wordpiece", "unigram"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    return request.getfixturevalue(request.param)


MakeTeacher = Callable[..., tuple[PreTrainedModel, PreTrainedTokenizerBase]]


@pytest.fixture
def make_teacher(wordpiece: PreTrainedTokenizerBase, unigram: PreTrainedTokenizerBase) -> MakeTeacher:
    """Return a function (family, tied, spare rows) -> a model in eval mode with nonzero biases, and its tokenizer."""

    def make(family: str, tied: bool = True, spare_rows: int = 0) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        tokenizer = unigram if family == "xlm-r" else wordpiece
        common = {"vocab_size": len(tokenizer) + spare_rows, "tie_word_embeddings": tied}
        bert = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        generator = torch.Generator().manual_seed(0)
        if family == "bert":
            model: PreTrainedModel = BertForMaskedLM(BertConfig(**common, **bert))
        elif family == "xlm-r":
            model = XLMRobertaForMaskedLM(
                XLMRobertaConfig(**common, **bert, pad_token_id=1, bos_token_id=0, eos_token_id=2)
            )
        else:
            model = DistilBertForMaskedLM(DistilBertConfig(**common, dim=32, n_layers=2, n_heads=2, hidden_dim=64))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
        return model.eval(), tokenizer

    return make
