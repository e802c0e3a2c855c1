"""Load saved folders with whatever transformers is installed, and write what tokenizers and models give, as JSON.

Nothing of ours is imported. Arguments: the file to write, then `FOLDER=CLASS` for each folder; an empty class means
that the folder holds a tokenizer only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer

TEXTS = (
    "ba kelo mi, [MASK] ya gö .",
    "ÇEK <mask> Şu  lar\tim <mask>.",
    "",
    "ev 漢字 ünü ren's ☃",
    "<entity> dog [SEP] x</s>",
)
NEEDED = ("additional_special_tokens", "extra_special_tokens")  # 4 and 5 name them differently; `special` lists them


def of_tokenizer(folder: str) -> dict[str, Any]:
    return outputs_of(AutoTokenizer.from_pretrained(folder))


def outputs_of(tokenizer: Any) -> dict[str, Any]:
    words = tokenizer([text.split() for text in TEXTS], is_split_into_words=True, return_offsets_mapping=True)
    offsets = {"return_offsets_mapping": True, "return_special_tokens_mask": True}
    windows = {"truncation": "only_second", "max_length": 24, "stride": 4, "return_overflowing_tokens": True}
    ids = tokenizer(list(TEXTS))["input_ids"]
    named = {name: token for name, token in tokenizer.special_tokens_map.items() if name not in NEEDED}
    return {
        "special": [sorted(set(tokenizer.all_special_ids)), named],
        "vocabulary": sorted(tokenizer.get_vocab().items()),
        "longest": tokenizer.model_max_length,
        "alone": dict(tokenizer(list(TEXTS), padding=True, **offsets)),
        "pairs": dict(tokenizer(list(TEXTS), list(TEXTS[::-1]), truncation=True, max_length=16, **offsets)),
        "windows": dict(tokenizer(TEXTS[0], TEXTS[1] * 3, padding="max_length", **windows, **offsets)),
        "words": [dict(words), [words.word_ids(row) for row in range(len(TEXTS))]],
        "decoded": [tokenizer.decode(row, skip_special_tokens=skip) for row in ids for skip in (False, True)],
    }


@torch.no_grad()
def of_model(folder: str, kind: str) -> dict[str, Any]:
    more = {"add_pooling_layer": False} if kind == "AutoModel" else {}
    model, found = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True, **more)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(list(TEXTS), list(TEXTS[::-1]), padding=True, return_tensors="pt")
    outputs = model.eval()(**inputs)
    real = inputs["attention_mask"].bool()  # ModernBERT's values of padding differ between versions, and mean nothing
    tensors = {name: value for name, value in outputs.items() if isinstance(value, torch.Tensor)}
    of_tokens = {name: value[real] if value.shape[:2] == real.shape else value for name, value in tensors.items()}
    return {
        "missing": sorted(found["missing_keys"]),
        "mismatched": sorted(map(str, found["mismatched_keys"])),
        "labels": {str(number): label for number, label in sorted(model.config.id2label.items())},
        "outputs": {name: value.tolist() for name, value in of_tokens.items()},
    }


def main(target: str, *folders: str) -> None:
    results: dict[str, Any] = {"transformers": transformers.__version__}
    for folder, _, kind in (each.rpartition("=") for each in folders):
        results[folder] = {"tokenizer": of_tokenizer(folder), "model": of_model(folder, kind) if kind else None}
    Path(target).write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
