"""The parts of a model card that only a sentence encoder has: how it makes vectors, and how to get them."""

from __future__ import annotations

from bistil_ds.console.untrusted import as_code, as_python, in_markdown
from bistil_ds.export.card_facts import SentenceFacts


def sentence_summary(facts: SentenceFacts) -> list[str]:
    """Return lines on the size of a vector, the pooling, the prompts and the longest input."""
    settings = facts.settings
    lines = [f"- Vectors: {facts.dimension} values; {', then '.join(settings.steps())}"]
    prompts = [f"{in_markdown(name)} {as_code(as_python(text))}" for name, text in settings.prompts.items()]
    if prompts:
        default = settings.default_prompt
        lines.append(f"- Prompts: {', '.join(prompts)}" + (f"; default: {in_markdown(default)}" if default else ""))
    return [*lines, f"- Longest input, in tokens: {facts.longest}; longer texts are cut"]


def sentence_usage(facts: SentenceFacts, name: str) -> list[str]:
    """Return a code block that encodes texts; `name` is the model's name as a Python string."""
    lines = ["```python", "from sentence_transformers import SentenceTransformer", ""]
    lines.append(f"model = SentenceTransformer({name})")
    if "query" in facts.settings.prompts:
        lines += ['queries = model.encode_query(["a question"])', 'documents = model.encode_document(["a text"])']
    else:
        lines += ['queries = model.encode(["a text"])', 'documents = model.encode(["another text"])']
    return [*lines, "similarities = model.similarity(queries, documents)", "```"]
