"""A small model folder of each kind that can be trimmed, and texts of two languages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tiny
import transformers
from transformers import PreTrainedModel

KINDS = ("Model", "ForMaskedLM", "ForTokenClassification", "ForSequenceClassification")
POOLING = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
PROMPTS = {"prompts": {"query": "query: "}, "default_prompt_name": "query", "similarity_fn_name": "cosine"}


def write_model(folder: Path, kind: str = "ForMaskedLM", layers: int = 1, **changes: Any) -> PreTrainedModel:
    """Write an XLM-R of some kind, such as `ForTokenClassification`, with its tokenizer; return it."""
    tokenizer = tiny.unigram_tokenizer()
    config = tiny.xlmr(len(tokenizer), layers=layers).config
    for name, value in changes.items():
        setattr(config, name, value)
    model: PreTrainedModel = getattr(transformers, f"XLMRoberta{kind}")(config).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def write_sentence_folder(folder: Path, inner: str = "", **changes: Any) -> PreTrainedModel:
    """Write a sentence-transformers folder: a Transformer in the subfolder `inner`, pooling, a dense module."""
    model = write_model(folder / inner, "Model", **changes)
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
        ("2_Dense/config.json", {"in_features": 32, "out_features": 8}),
        ("2_Dense/model.safetensors", "any bytes"),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return model
