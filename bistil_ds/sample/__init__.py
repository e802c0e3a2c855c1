"""The embedded sample: annotated sentences in English, Turkish and Swahili, and a small model trained on such text."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bistil_ds.sample.grammar.annotation import Sentence
    from bistil_ds.sample.grammar.generation import LANGUAGES, Parallel, sentences
    from bistil_ds.sample.mmt import held_out_accuracy, held_out_sentences, sample_corpora, sample_mmt
    from bistil_ds.sample.tasks import sample_task_file
    from bistil_ds.sample.text import write_text

__all__ = [
    "LANGUAGES",
    "Parallel",
    "Sentence",
    "held_out_accuracy",
    "held_out_sentences",
    "sample_corpora",
    "sample_mmt",
    "sample_task_file",
    "sentences",
    "write_text",
]

_HOMES = {
    **dict.fromkeys(("LANGUAGES", "Parallel", "sentences"), "bistil_ds.sample.grammar.generation"),
    **dict.fromkeys(
        ("held_out_accuracy", "held_out_sentences", "sample_corpora", "sample_mmt"), "bistil_ds.sample.mmt"
    ),
    "Sentence": "bistil_ds.sample.grammar.annotation",
    "sample_task_file": "bistil_ds.sample.tasks",
    "write_text": "bistil_ds.sample.text",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, so that importing `defaults.py` imports no other module of the sample."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
