"""Read licence and languages from the card of a model or data set, in a folder or on the hub; write a short card."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from bistil_ds.console.user_path import user_path
from bistil_ds.console.yaml_file import LARGEST, parse_yaml
from bistil_ds.models.hub_folder import fetch_file

CARD_FILE = "README.md"
LANGUAGE_CODE = re.compile(r"[a-z]{2,3}(-\w+)*")
METADATA = re.compile(r"\s*---\n(.*?)\n---[ \t]*(?:\n|$)", re.DOTALL)  # at the start of a card
LONGEST_LICENCE = 80  # characters
PIPELINES = {  # what follows "For" in a class's name → the hub's name of its task
    "TokenClassification": "token-classification",
    "SequenceClassification": "text-classification",
    "QuestionAnswering": "question-answering",
    "MaskedLM": "fill-mask",
    "SentenceEmbedding": "sentence-similarity",
}


@dataclass(frozen=True)
class CardMetadata:
    """Metadata of a card: its licence and language codes. If the card states none, they are None and empty."""

    licence: str | None = None
    languages: tuple[str, ...] = ()


def read_model_card(source: str) -> CardMetadata:
    """Return the metadata on the card of a model folder or hub id; empty if the card cannot be fetched or read."""
    return _read_card(user_path(source), source, "model")


def read_data_card(source: str) -> CardMetadata:
    """Return the metadata on the card beside a file, in a folder, or of a hub data set `[hf:]name[:config…]`.

    `plain:` may stand before a file or folder.

    The metadata are empty if the card cannot be fetched or read.
    """
    path = user_path(source.removeprefix("plain:"))
    return _read_card(path.parent if path.is_file() else path, source.removeprefix("hf:").partition(":")[0], "dataset")


def _read_card(folder: Path, hub_id: str, kind: str) -> CardMetadata:
    try:
        card = folder / CARD_FILE if folder.is_dir() else fetch_file(hub_id, CARD_FILE, kind)
        with open(card, encoding="utf-8-sig") as file:
            found = METADATA.match(file.read(LARGEST))
        metadata = parse_yaml(found[1]) if found else None
    except Exception:  # errors of the hub, its HTTP client and YAML have no common class
        return CardMetadata()
    return CardMetadata(_licence(metadata), _languages(metadata)) if isinstance(metadata, dict) else CardMetadata()


def write_model_card(folder: Path, languages: Sequence[str], licence: str | None = None) -> None:
    """Write the card of a masked language model trained from scratch; leave out `languages` that are no codes."""
    codes = [language for language in languages if LANGUAGE_CODE.fullmatch(language)]
    metadata = ModelCardData(
        language=codes or None, license=licence, library_name="transformers", pipeline_tag="fill-mask", tags=["bistil"]
    )
    text = "# A small masked language model\n\nTrained from random weights by bistil_ds.\n"
    ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{text}").save(folder / CARD_FILE)


def _licence(metadata: dict[str, Any]) -> str | None:
    stated = metadata.get("license")
    named = metadata.get("license_name") if stated == "other" else None  # the hub has no id for this licence
    names = [_bare(name) for name in _as_list(named or stated) if isinstance(name, str)]
    known = [name for name in names if name and name.lower() not in ("unknown", "none")]
    return " AND ".join(dict.fromkeys(known)) or None


def _languages(metadata: dict[str, Any]) -> tuple[str, ...]:
    words = [word for word in _as_list(metadata.get("language")) if isinstance(word, str)]
    codes = [word.lower().replace("_", "-") for word in words]
    return tuple(dict.fromkeys(code for code in codes if LANGUAGE_CODE.fullmatch(code)))


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _bare(text: str) -> str:
    """Drop characters that could break a Markdown table, and cut to LONGEST_LICENCE; anybody may write a card."""
    return " ".join(re.sub(r"[^\w.+,:()/ -]", " ", text).split())[:LONGEST_LICENCE]
