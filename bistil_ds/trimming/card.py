"""The model card of a trimmed model: what was trimmed, from which model, for which languages, under which licence."""

from __future__ import annotations

from collections.abc import Mapping

from huggingface_hub import ModelCard, ModelCardData

from bistil_ds.console.untrusted import as_code, as_python, in_markdown, one_line
from bistil_ds.models.hub_folder import split_revision
from bistil_ds.models.licences import is_hub_id, non_commercial, public_name
from bistil_ds.models.model_card import LANGUAGE_CODE, PIPELINES
from bistil_ds.trimming.record import TrimRecord
from bistil_ds.trimming.tables import trim_grids


def trimmed_card(record: TrimRecord, title: str, kind: str, licences: Mapping[str, str], sentence: bool) -> ModelCard:
    """Return the card of a trimmed model.

    Args:
        record: what was trimmed.
        title: name of the folder.
        kind: the model's class, such as `XLMRobertaModel`.
        licences: part (a model that it is made from) → licence.
        sentence: whether the folder is one of sentence-transformers.
    """
    head = kind.partition("For")[2]
    metadata = ModelCardData(
        language=[code for code in record.languages if LANGUAGE_CODE.fullmatch(code)] or None,
        license=one_line(record.licence),
        library_name="sentence-transformers" if sentence else "transformers",
        pipeline_tag="sentence-similarity" if sentence else PIPELINES.get(head),
        base_model=one_line(split_revision(record.model)[0]) if is_hub_id(record.model) else None,
        tags=["bistil", "vocabulary-trimming"],
    )
    before, after = record.report.before, record.report.after
    languages = ", ".join(map(in_markdown, record.languages))
    summary = (
        f"{as_code(public_name(record.model))} with a vocabulary trimmed to {languages}: of its {before.vocabulary:,} "
        f"rows of embeddings this model keeps {after.vocabulary:,} ({as_code(record.choice)}). All other weights are "
        "the same. Text whose tokens are all kept has the same hidden states as before."
    )
    limits = (
        "Text of other languages is cut into more pieces, and some into unknown ones. Limits and biases are those "
        "of the model that was trimmed."
    )
    rows = "\n".join(f"| {as_code(part)} | {in_markdown(licence)} |" for part, licence in licences.items())
    forbidden = non_commercial({"this model": record.licence, **licences})
    commerce = f" Not for commercial use, by the licence of {', '.join(map(as_code, forbidden))}." if forbidden else ""
    parts = [
        f"---\n{metadata.to_yaml()}\n---",
        f"# {in_markdown(title)}",
        summary,
        f"## Use\n\n```python\n{_usage(title, head, sentence)}\n```",
        "## What trimming changed",
        *(grid.markdown().rstrip() for grid in trim_grids(record)),
        f"## Limitations\n\n{limits}",
        f"## Licence\n\n{in_markdown(record.licence)}.{commerce}\n\n| made from | licence |\n|---|---|\n{rows}",
    ]
    return ModelCard("\n\n".join(parts) + "\n")


def _usage(title: str, head: str, sentence: bool) -> str:
    name = as_python(title)
    if sentence:
        return (
            f"from sentence_transformers import SentenceTransformer\n\nmodel = SentenceTransformer({name})\n"
            'vectors = model.encode(["a text", "another text"])'
        )
    load = f"AutoModelFor{head}" if head else "AutoModel"
    return (
        f"from transformers import {load}, AutoTokenizer\n\nmodel = {load}.from_pretrained({name})\n"
        f"tokenizer = AutoTokenizer.from_pretrained({name})"
    )
