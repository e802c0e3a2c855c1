"""Models, tokenizers and text in the real formats, small enough for a test."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForMaskedLM

SYLLABLES = {
    "aa": ["ba", "ke", "lo", "mi", "su", "ta", "ren", "vor"],
    "bb": ["ya", "gö", "şu", "çek", "lar", "im", "ev", "ün"],
}
TANH = "torch.nn.modules.activation.Tanh"
POOLING = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
PROMPTS = {"prompts": {"query": "query: "}, "default_prompt_name": "query", "similarity_fn_name": "cosine"}


def text_lines(language: str, lines: int, seed: int = 0) -> list[str]:
    """Return sentences of made-up words from the language's own syllables; few words are frequent, most are rare."""
    draw = random.Random(f"{language}{seed}")
    words = ["".join(draw.choices(SYLLABLES[language], k=draw.randint(1, 3))) for _ in range(80)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    return [" ".join(draw.choices(words, weights, k=draw.randint(4, 12))) + "." for _ in range(lines)]


def write_texts(folder: Path, lines: int = 400) -> tuple[Path, Path]:
    """Write `aa.txt` and `bb.txt` to `folder` and return their paths."""
    paths = []
    for language in SYLLABLES:
        paths.append(folder / f"{language}.txt")
        paths[-1].write_text("\n".join(text_lines(language, lines)) + "\n", encoding="utf-8")
    return paths[0], paths[1]


def in_order(pieces: Iterable[Sequence[Any]]) -> list[tuple[str, float]]:
    """Return pieces and scores that are the same each time: the trainer's sums, and its order of ties, are not."""
    return sorted(((piece, round(score, 2)) for piece, score in pieces), key=lambda each: (-each[1], each[0]))


def unigram_tokenizer(vocab_size: int = 200) -> PreTrainedTokenizerFast:
    """Return a tokenizer like XLM-R's: <s> 0, <pad> 1, </s> 2, <unk> 3, then pieces, and <mask> last."""
    lines = [line for language in SYLLABLES for line in text_lines(language, 300)]
    first = Tokenizer(models.Unigram())
    first.normalizer = normalizers.NFKC()
    first.pre_tokenizer = pre_tokenizers.Metaspace()
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=specials, unk_token="<unk>", show_progress=False
    )
    first.train_from_iterator(lines, trainer)
    trained = json.loads(first.to_str())["model"]["vocab"]
    first.model = models.Unigram([*map(tuple, trained[: len(specials)]), *in_order(trained[len(specials) :])], unk_id=3)
    first.decoder = decoders.Metaspace()
    ends = [("<s>", 0), ("</s>", 2)]
    first.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", ends)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=first,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=64,
    )
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    return tokenizer


def xlmr(vocab_size: int, layers: int = 4, width: int = 32, heads: int = 2, seed: int = 0) -> XLMRobertaForMaskedLM:
    """Return a randomly initialised XLM-R, with weights so large that layers and heads differ."""
    torch.manual_seed(seed)
    config = XLMRobertaConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * width,
        max_position_embeddings=66,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.2,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    return XLMRobertaForMaskedLM(config).eval()


def write_teacher(folder: Path, **shape: int) -> Path:
    """Write a teacher with its tokenizer and return `folder`."""
    tokenizer = unigram_tokenizer()
    xlmr(len(tokenizer), **shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_entities(path: Path, sentences: int, seed: int, tag: str = "PER", language: str = "aa") -> Path:
    """Write a file for `--task ner` and return its path.

    Its sentences are of made-up words; each word that begins with the language's first syllable is an entity.
    """
    blocks = []
    for line in text_lines(language, sentences, seed):
        words = line.rstrip(".").split()
        first = SYLLABLES[language][0]
        blocks.append("\n".join(f"{w}\t{'B-' + tag if w.startswith(first) else 'O'}" for w in words))
    random.Random(seed).shuffle(blocks)
    path.write_text("\n\n".join(blocks) + "\n\n", encoding="utf-8")
    return path


def write_xlmr(folder: Path, kind: str = "ForMaskedLM", layers: int = 1, **changes: Any) -> PreTrainedModel:
    """Write an XLM-R of some kind, such as `ForTokenClassification`, with its tokenizer; return it."""
    tokenizer = unigram_tokenizer()
    config = xlmr(len(tokenizer), layers=layers).config
    for name, value in changes.items():
        setattr(config, name, value)
    model: PreTrainedModel = getattr(transformers, f"XLMRoberta{kind}")(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def write_sentence_folder(folder: Path, inner: str = "", **changes: Any) -> PreTrainedModel:
    """Write a sentence-transformers folder: a Transformer in the subfolder `inner`, mean pooling, a dense module."""
    model = write_xlmr(folder / inner, "Model", **changes)
    kind = "sentence_transformers.models"
    modules = [
        {"idx": 0, "name": "0", "path": inner, "type": f"{kind}.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{kind}.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Dense", "type": f"{kind}.Dense"},
        {"idx": 3, "name": "3", "path": "3_Normalize", "type": f"{kind}.Normalize"},
    ]
    for name, content in (
        ("modules.json", modules),
        ("config_sentence_transformers.json", PROMPTS),
        (f"{inner}/sentence_bert_config.json".lstrip("/"), {"max_seq_length": 32, "do_lower_case": False}),
        ("1_Pooling/config.json", POOLING),
        ("2_Dense/config.json", {"in_features": 32, "out_features": 8, "bias": True, "activation_function": TANH}),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    dense = {"linear.weight": torch.randn(8, 32), "linear.bias": torch.randn(8)}
    save_file(dense, folder / "2_Dense" / "model.safetensors")
    return model
