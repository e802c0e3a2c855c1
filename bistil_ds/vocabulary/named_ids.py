"""Read and renumber the token ids that a `tokenizer.json` names outside of its model.

They are those of added tokens, of the padding token, and of the special tokens that the post-processor adds to a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def named_ids(content: dict[str, Any]) -> set[int]:
    """Return the ids that a `tokenizer.json` names outside of its model."""
    return {place[key] for place, key in _places(content)}


def renumber_named_ids(content: dict[str, Any], new_id: Mapping[int, int]) -> None:
    """Replace each id that a `tokenizer.json` names outside of its model by its new one, in place."""
    for place, key in _places(content):
        place[key] = new_id[place[key]]


def _places(content: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield (object or list, key or index) for each id."""
    for token in content["added_tokens"]:
        yield token, "id"
    if content["padding"] is not None:
        yield content["padding"], "pad_id"
    if content["post_processor"] is not None:
        yield from _places_in_processor(content["post_processor"])


def _places_in_processor(processor: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    for inner in processor.get("processors", ()):  # Sequence
        yield from _places_in_processor(inner)
    for token in processor.get("special_tokens", {}).values():  # TemplateProcessing
        for index in range(len(token["ids"])):
            yield token["ids"], index
    for name in ("sep", "cls"):  # BertProcessing, RobertaProcessing: [token, id]
        if name in processor:
            yield processor[name], 1
