"""Choose the prompts that queries and documents get."""

from __future__ import annotations

from bistil_ds.embedding.settings import SentenceSettings

DOCUMENT_PROMPTS = ("document", "passage", "corpus")  # the names that sentence-transformers tries, in this order


def prompts_of(settings: SentenceSettings) -> tuple[str, str]:
    """Return the prompts of queries and of documents.

    They are the prompts of these names; a document's may also be called `passage` or `corpus`. Both are the default
    prompt where no prompt has such a name.
    """
    named = settings.prompts
    document = next((named[name] for name in DOCUMENT_PROMPTS if name in named), None)
    alone = settings.prompt if "query" not in named and document is None else ""
    return named.get("query", alone), alone if document is None else document
