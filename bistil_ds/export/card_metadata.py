"""The YAML at the top of a model card, which the hub reads."""

from __future__ import annotations

from huggingface_hub import EvalResult, ModelCardData

from bistil_ds.console.untrusted import one_line
from bistil_ds.export.card_facts import CardFacts
from bistil_ds.models.hub_folder import split_revision
from bistil_ds.models.licences import UNKNOWN
from bistil_ds.models.model_card import LANGUAGE_CODE, PIPELINES

SENTENCE_TAGS = ("sentence-transformers", "sentence-similarity", "feature-extraction")  # by which the hub finds them


def card_metadata(facts: CardFacts) -> ModelCardData:
    """Return the metadata; unknown facts are left out, except the licence, which is then `unknown`."""
    scores = facts.scores or ()
    codes = [code for code in facts.languages if LANGUAGE_CODE.fullmatch(code)]
    return ModelCardData(
        language=codes or None,
        license=one_line(facts.licence or UNKNOWN),
        library_name="transformers" if facts.sentence is None else SENTENCE_TAGS[0],
        pipeline_tag=PIPELINES.get(facts.head),
        base_model=facts.base.hub_id and one_line(split_revision(facts.base.hub_id)[0]),
        tags=[
            *(SENTENCE_TAGS if facts.sentence else ()),
            "bistil",
            *(["sparse-fine-tuning"] if any(sft.sparse for sft in facts.sfts) else []),
            one_line(facts.task),
        ],
        metrics=list(dict.fromkeys(one_line(score.metric) for score in scores)) or None,
        model_name=one_line(facts.title) if scores else None,
        eval_results=[
            EvalResult(
                task_type=PIPELINES.get(facts.head, one_line(facts.task)),
                task_name=one_line(facts.task),
                dataset_type=one_line(score.test_set[0]),
                dataset_name=one_line(f"{score.test_set[0]} ({score.language})"),
                dataset_config=one_line(score.language),  # else test sets of the same name would share one entry
                metric_type=one_line(score.metric),
                metric_name=one_line(score.metric),
                metric_value=round(score.value, 6),
            )
            for score in scores
        ]
        or None,
    )
