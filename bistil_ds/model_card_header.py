"""The YAML at the top of a model card, which the hub reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from bistil_ds.model_card_facts import CardFacts
from bistil_ds.model_card_scores import DataFile, Score

UNKNOWN = "unknown"
PIPELINES = {
    "TokenClassification": "token-classification",
    "SequenceClassification": "text-classification",
    "QuestionAnswering": "question-answering",
    "MaskedLM": "fill-mask",
}


def front_matter(facts: CardFacts) -> str:
    """Between its `---` lines; keys of which nothing is known are left out, but for `license`."""
    head: dict[str, Any] = {}
    if codes := facts.languages:
        head["language"] = codes
    head["license"] = facts.licence or UNKNOWN
    head["library_name"] = "transformers"
    if facts.head in PIPELINES:
        head["pipeline_tag"] = PIPELINES[facts.head]
    if facts.base.hub_id:
        head["base_model"] = facts.base.hub_id
    head["tags"] = ["bistil", *(["sparse-fine-tuning"] if any(sft.sparse for sft in facts.sfts) else []), facts.task]
    if facts.scores:
        head["metrics"] = list(dict.fromkeys(score.metric for score in facts.scores))
        head["model-index"] = [{"name": facts.title, "results": _results(facts, facts.scores)}]
    text = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{text}---"


def _results(facts: CardFacts, scores: Sequence[Score]) -> list[dict[str, Any]]:
    found: dict[tuple[str, DataFile], dict[str, Any]] = {}
    for score in scores:
        name = score.test_set[0]
        result = {
            "task": {"type": PIPELINES.get(facts.head, facts.task), "name": facts.task},
            "dataset": {"type": name, "name": f"{name} ({score.language})"},
            "metrics": [],
        }
        metric = {"type": score.metric, "value": round(score.value, 6), "name": score.metric}
        found.setdefault((score.language, score.test_set), result)["metrics"].append(metric)
    return list(found.values())
