"""Trimming: texts with any characters for good tokenizers of each kind, and tokenizer files that are nearly right."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from datasets import Dataset
from tiny import text_lines
from tokenizer_kinds.bpe_tokenizers import byte_fallback, byte_level
from tokenizer_kinds.other_tokenizers import LINES, every_tokenizer

from bistil_ds.models.inputs import load_tokenizer
from bistil_ds.trimming.options import TrimOptions
from bistil_ds.vocabulary import count_tokens, select_ids, trim_tokenizer
from bistil_ds.vocabulary.encoding import encode_whole
from bistil_ds.vocabulary.pieces import read_pieces
from bistil_ds.vocabulary.report import compare_segmentation
from fuzz.family import Family
from fuzz.mutation import ODD_TEXTS, ODD_VALUES, mutated_bytes, often, some

FILES = ("tokenizer.json", "tokenizer_config.json")
GOOD_TEXTS = text_lines("aa", 20) + text_lines("bb", 20)


@cache
def _tokenizers() -> dict[str, Any]:
    """Return a few tokenizers, each of another kind."""
    found = every_tokenizer()
    names = ("unigram with added tokens", "WordPiece", "byte level", "XLM-R", "BERT, lower case", "RoBERTa")
    lines = LINES[:100]
    more = {"Llama": byte_level(lines, 300, ignore_merges=True), "Gemma": byte_fallback(lines, 330)}
    return {**{name: found[name] for name in names}, **more}


@cache
def _files(kind: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        _tokenizers()[kind].save_pretrained(folder)
        return {name: json.loads(Path(folder, name).read_text(encoding="utf-8")) for name in FILES}


def _odd_texts(rng: Random) -> list[str]:
    odd = [text for text in ODD_TEXTS if not any("\ud800" <= c <= "\udfff" for c in text)]
    texts = some(rng, [*GOOD_TEXTS, *odd], 6)
    for _ in range(rng.randint(0, 3)):
        top = rng.choice([0x7F, 0x2FF, 0xFFFF, 0x10FFFF])
        characters = [chr(rng.randint(0, top)) for _ in range(rng.choice([1, 5, 200]))]
        texts.append("".join(c for c in characters if not "\ud800" <= c <= "\udfff"))
    return [often(rng, 0.05, lambda text=text: text * 500, text) for text in texts]  # type: ignore[misc]


def _changed(rng: Random, content: Any) -> Any:
    """Return a tokenizer's file in which some values are others, outside of its long lists."""
    content = json.loads(json.dumps(content))
    for _ in range(rng.choice([1, 1, 2, 3])):
        holder, path = content, []
        while isinstance(holder, dict | list) and holder and (not path or rng.random() < 0.75):
            key = rng.choice(sorted(holder) if isinstance(holder, dict) else range(len(holder)))
            path.append((holder, key))
            holder = holder[key]
        if not path:
            continue
        place, key = path[-1]
        match rng.randrange(4):
            case 0 if isinstance(place, dict):
                del place[key]
            case 1 if isinstance(place, list):
                place.insert(0, place[key])
            case 2 if isinstance(place[key], int | float):
                place[key] = rng.choice([place[key] + 1, -1, 2**31, 2**32 - 1, 10**12, 0])
            case _:
                place[key] = rng.choice(ODD_VALUES)
    return content


def make(rng: Random) -> tuple[dict[str, bytes], dict[str, Any]]:
    kind = rng.choice(list(_tokenizers()))
    sizes = rng.choice(["vocab_threshold", "vocab_size", "coverage", ""])
    values = {"vocab_threshold": [0.0, 1e-6, 0.01, 0.5, float("nan")], "vocab_size": [1, 60, 300, 10**9, -1]}
    values["coverage"] = [0.01, 0.5, 0.99, 1.0, float("nan"), 1e-9]
    options: dict[str, Any] = {sizes: rng.choice(values[sizes])} if sizes else {}
    options |= often(rng, 0.3, lambda: {"round_to": rng.choice([0, 2, 64, 65_536])}, {})
    about = {"kind": kind, "options": options, "keep": rng.random() < 0.5}
    texts = {"texts/aa": "\n".join(GOOD_TEXTS).encode()}
    if rng.random() < 0.6:
        drawn = {f"texts/{name}": "\x1d".join(_odd_texts(rng)).encode() for name in rng.choice([("aa",), ("aa", "bb")])}
        return drawn, about
    contents = dict(_files(kind))
    name = rng.choice([FILES[0], FILES[0], FILES[1]])
    files = {one: json.dumps(content).encode() for one, content in contents.items()}
    if rng.random() < 0.2:
        files[name] = mutated_bytes(rng, files[name])
    else:
        files[name] = json.dumps(_changed(rng, contents[name])).encode("utf-8", errors="surrogatepass")
    return {**files, **texts}, {**about, "kind": None}


def run(folder: Path, about: Mapping[str, Any]) -> None:
    """Trim a tokenizer to texts, and compare how both cut them where every piece was kept."""
    tokenizer = load_tokenizer("--model", folder) if about["kind"] is None else _tokenizers()[about["kind"]]
    options = TrimOptions(**about["options"])
    texts = {
        path.name: Dataset.from_dict({"text": path.read_bytes().decode("utf-8", errors="replace").split("\x1d")})
        for path in sorted((folder / "texts").iterdir())
    }
    options.check(texts)
    pieces = read_pieces(tokenizer, keep_padding_id=about["keep"])
    counts = {
        name: count_tokens(part, tokenizer, name=name, rows=pieces.rows, progress=False) for name, part in texts.items()
    }
    kept_ids = select_ids(counts, pieces, **options.selection())
    trimmed = trim_tokenizer(tokenizer, kept_ids, keep_padding_id=about["keep"], pieces=pieces)
    kept = set(kept_ids.tolist())
    for part in texts.values():
        lines = part["text"][:]
        compare_segmentation(lines, tokenizer, trimmed, kept_ids)
        for old, new in zip(encode_whole(lines, tokenizer), encode_whole(lines, trimmed), strict=True):
            if kept.issuperset(old):
                assert np.array_equal(old, kept_ids[new] if new else []), "a text of kept pieces is cut otherwise"


FAMILY = Family("trimming", 0.05, make, run)
