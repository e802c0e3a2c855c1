"""The YAML at the top of a model card, which the hub reads."""

from __future__ import annotations

from huggingface_hub import EvalResult, ModelCardData

from bistil_ds.export.card_facts import CardFacts
from bistil_ds.models.licences import UNKNOWN

PIPELINES = {
    "TokenClassification": "token-classification",
    "SequenceClassification": "text-classification",
    "QuestionAnswering": "question-answering",
    "MaskedLM": "fill-mask",
}


def card_metadata(facts: CardFacts) -> ModelCardData:
    """Return the metadata; unknown facts are left out, except the licence, which is then `unknown`."""
    scores = facts.scores or ()
    return ModelCardData(
        language=facts.languages or None,
        license=facts.licence or UNKNOWN,
        library_name="transformers",
        pipeline_tag=PIPELINES.get(facts.head),
        base_model=facts.base.hub_id,
        tags=["bistil", *(["sparse-fine-tuning"] if any(sft.sparse for sft in facts.sfts) else []), facts.task],
        metrics=list(dict.fromkeys(score.metric for score in scores)) or None,
        model_name=facts.title if scores else None,
        eval_results=[
            EvalResult(
                task_type=PIPELINES.get(facts.head, facts.task),
                task_name=facts.task,
                dataset_type=score.test_set[0],
                dataset_name=f"{score.test_set[0]} ({score.language})",
                dataset_config=score.language,  # else test sets of the same name would share one entry
                metric_type=score.metric,
                metric_name=score.metric,
                metric_value=round(score.value, 6),
            )
            for score in scores
        ]
        or None,
    )
