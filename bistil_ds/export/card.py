"""Write the `README.md` of an exported model: YAML for the hub, then method, data, scores and limitations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from huggingface_hub import ModelCard

from bistil_ds.console.untrusted import as_code, as_python, in_markdown
from bistil_ds.export.card_facts import CardFacts, Run, SftFacts
from bistil_ds.export.card_languages import languages_section
from bistil_ds.export.card_metadata import card_metadata
from bistil_ds.export.card_sentence import sentence_summary, sentence_usage
from bistil_ds.models.licences import UNKNOWN, non_commercial, public_name
from bistil_ds.training.terms import terms_of

PARSER_SUFFIX = "DependencyParsing"
CALLS = {  # what follows "For" in a class's name → how a pipeline of transformers is made, and what one gives to it
    "TokenClassification": (
        'pipeline("token-classification", model={}, aggregation_strategy="first")',
        "takes a text, whose words stand between spaces. A word's label is the one of its first token.",
    ),
    "SequenceClassification": (
        'pipeline("text-classification", model={})',
        'takes a text, or a pair as `{"text": …, "text_pair": …}`.',
    ),
    "MaskedLM": ('pipeline("fill-mask", model={})', "takes a text with a mask token."),
}
OF_A_REFERENCE = ("cosine", "neighbours@")  # metrics of sentence vectors beside another model's
PHASE_1 = (
    *("layer_reduction_factor", "hidden_reduction_factor", "vocab_threshold", "vocab_size", "max_length", "max_steps"),
    *("language_temperature", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "seed"),
    *(f"{term.name}_weight" for term in terms_of(phase=1)),
    "published_losses",
)
TUNING = (
    *("density", "k", "selection", "iterations", "dense", "full_epochs", "sparse_epochs"),
    *("full_max_steps", "sparse_max_steps", "max_length", "per_device_train_batch_size"),
    *("gradient_accumulation_steps", "learning_rate", "seed"),
    *(f"{term.name}_weight" for term in terms_of(phase=2)),
    *("temperature", "label_map"),
)


def model_card(facts: CardFacts) -> ModelCard:
    """Return the whole card; `str` of it is the file's text."""
    parts = [f"---\n{card_metadata(facts).to_yaml()}\n---", f"# {in_markdown(facts.title)}"]
    parts += [_summary(facts), _usage(facts), _method(facts), _data(facts), _scores(facts)]
    parts += [languages_section(facts), _limitations(facts), _licence(facts)]
    return ModelCard("\n\n".join(part for part in parts if part) + "\n")


def _summary(facts: CardFacts) -> str:
    lines = [f"- Class: {facts.kind}, {facts.parameters:,} parameters", f"- Task: {in_markdown(facts.task)}"]
    lines.append(f"- Languages: {_names(facts.languages)}")
    if facts.sentence:
        lines += sentence_summary(facts.sentence)
    else:
        lines.append(f"- Labels: {', '.join(map(as_code, facts.labels)) or 'none'}")
    return "\n".join([*lines, f"- Longest input in training, in tokens: {facts.max_length or UNKNOWN}"])


def _usage(facts: CardFacts) -> str:
    name = as_python(facts.title)
    if facts.sentence:
        return "\n".join(["## Use", "", *sentence_usage(facts.sentence, name), *_engines(facts)])
    lines = ["## Use", "", "```python"]
    if facts.head == PARSER_SUFFIX:
        lines += [
            "from transformers import AutoTokenizer",
            "",
            "from bistil_ds.tasks.parsing.parser import BiaffineParser",
            "",
        ]
        load = "BiaffineParser"
    else:
        load = f"AutoModelFor{facts.head}"
        lines += [f"from transformers import {load}, AutoTokenizer", ""]
    lines += [f"model = {load}.from_pretrained({name})"]
    lines += [f"tokenizer = AutoTokenizer.from_pretrained({name})", "```"]
    if facts.head == PARSER_SUFFIX:
        lines += [
            "",
            "The parser's class is in the package `bistil-ds`; `AutoModel` loads its encoder without it. Beside the",
            "tokens it takes `word_positions`, the place of each word's first token. `bistil-evaluate --task dp` does",
            "all of it.",
        ]
    elif facts.head in CALLS:
        call, takes = CALLS[facts.head]
        lines += ["", f"{as_code(call.format(name))} {takes}"]
    return "\n".join([*lines, *_engines(facts)])


def _engines(facts: CardFacts) -> list[str]:
    return ["", facts.engines.grid().markdown()] if facts.engines else []


def _method(facts: CardFacts) -> str:
    base, parts = facts.base, ["## Method"]
    if base.teacher:
        trimmed = ""
        if base.vocabulary:
            trimmed = f" Of the teacher's {base.vocabulary[0]:,} tokens it keeps {base.vocabulary[1]:,}."
        layers = ", ".join(map(str, base.layer_map or ()))
        how = "distilled from" if base.run.arguments else "built from"  # only phase 1 writes a run.json
        parts.append(
            f"Base: {as_code(base.name)}, a student that BiStil (arXiv 2306.01709) {how} {as_code(base.teacher)}, from "
            f"its layers {layers} (counted from 0).{trimmed}{_family(base.run)}"
        )
        parts.append(_arguments(base.run, PHASE_1))
    else:
        parts.append(f"Base: {as_code(base.name)}. How it was made: {UNKNOWN}.")
    for sft in facts.sfts:
        task, codes = in_markdown(sft.metadata.get("task") or UNKNOWN), _names(sft.metadata.get("languages") or ())
        parts.append(f"{_change(sft)} Task: {task}. Languages: {codes}.{_taught_by(sft.run)}")
        parts.append(_arguments(sft.run, TUNING))
    return "\n\n".join(parts)


def _family(run: Run) -> str:
    """Return sentences on the teacher's family and on what phase 1 left out; "" if the record names no family."""
    family, left_out = run.build.get("family"), run.build.get("left_out")
    if not isinstance(family, str):
        return ""
    lines = [in_markdown(str(line)) for line in left_out] if isinstance(left_out, list) else []
    return f" The teacher's family: {as_code(family)}." + (f" Left out: {'; '.join(lines)}." if lines else "")


def _change(sft: SftFacts) -> str:
    if not sft.sparse:
        return f"Dense fine-tuning {as_code(sft.name)}, merged into the weights: {sft.replaced:,} values set."
    density = sft.metadata.get("density")
    share = UNKNOWN if density is None else f"{density:.4g}"
    return (
        f"Sparse fine-tuning {as_code(sft.name)} (LT-SFT, arXiv 2110.07560), merged into the weights: {sft.entries:,} "
        f"entries changed (density {share}), {sft.replaced:,} values of the head set."
    )


def _taught_by(run: Run) -> str:
    """Return a sentence that names the teacher of phase 2, or "" if the run's record names none."""
    sfts = run.arguments.get("teacher_sft")
    models = [run.arguments.get("teacher_model"), *(sfts if isinstance(sfts, list) else ())]
    names = " + ".join(as_code(public_name(str(model))) for model in models if model)
    return f" Distilled from the task teacher {names} (BiStil, phase 2)." if names else ""


def _arguments(run: Run, names: Sequence[str]) -> str:
    given = [
        f"`{name}` {in_markdown(_show(run.arguments[name]))}" for name in names if run.arguments.get(name) is not None
    ]
    if not given:
        return f"Training arguments: {UNKNOWN}."
    versions = ", ".join(
        in_markdown(f"{p} {run.versions[p]}") for p in ("bistil-ds", "torch", "transformers") if run.versions.get(p)
    )
    commit = in_markdown(run.commit or UNKNOWN)
    return f"Training arguments: {', '.join(given)}. Software: {versions or UNKNOWN}; commit {commit}."


def _names(codes: Sequence[str]) -> str:
    return ", ".join(map(in_markdown, codes)) or UNKNOWN


def _show(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _data(facts: CardFacts) -> str:
    rows = ["| training of | data | SHA-256 |", "|---|---|---|"]
    for name, run in [(facts.base.name, facts.base.run), *((sft.name, sft.run) for sft in facts.sfts)]:
        for file, sha256 in run.data or [(UNKNOWN, None)]:
            rows.append(f"| {as_code(name)} | {in_markdown(file)} | {as_code(sha256) if sha256 else UNKNOWN} |")
    return "\n".join(["## Data", "", *rows])


def _scores(facts: CardFacts) -> str:
    if not facts.scores:
        return f"## Scores\n\n{UNKNOWN.capitalize()}: no evaluation was given when the model was exported."
    rows = ["| language | test set | examples | also in training | metric | score | 95 % interval |"]
    rows.append("|---|---|---:|---:|---|---:|---:|")
    for score in facts.scores:
        seen = UNKNOWN if score.seen_in_training is None else f"{score.seen_in_training:.1%}"
        examples = UNKNOWN if score.examples is None else f"{score.examples:,}"
        bounds = (score.low, score.high)
        interval = (
            UNKNOWN if None in bounds else " to ".join(f"{100 * bound:.1f}" for bound in bounds if bound is not None)
        )
        language, source, metric = map(in_markdown, (score.language, score.test_set[0], score.metric))
        cells = (language, source, examples, seen, metric, f"{100 * score.value:.1f}", interval)
        rows.append(f"| {' | '.join(cells)} |")
    about = "Per cent."
    if facts.sentence and any(score.metric.startswith(OF_A_REFERENCE) for score in facts.scores):
        about += (
            " The metrics cosine and neighbours compare the vectors with those of the evaluation's reference model."
        )
    return "\n".join(["## Scores", "", about, "", *rows])


def _limitations(facts: CardFacts) -> str:
    points = []
    trained = [
        code
        for sft in facts.sfts
        if sft.metadata.get("task") == facts.task
        for code in sft.metadata.get("languages") or ()
    ]
    if unseen := [code for code in facts.base.languages if trained and code not in trained]:
        used = "text" if facts.sentence else "labelled text"
        points.append(f"No {used} in {_names(unseen)} was used: there the model relies on zero-shot transfer.")
    measured = "on text unlike the test sets above" if facts.scores else "on any text"
    points.append(f"Nothing is known here of its quality {measured}.")
    points.append("Training text was not searched for harmful or biased content; the model may repeat what is in it.")
    return "\n".join(["## Limitations", "", *(f"- {point}" for point in points)])


def _licence(facts: CardFacts) -> str:
    rows = ["| made from | licence |", "|---|---|"]
    rows += [f"| {as_code(part)} | {in_markdown(licence)} |" for part, licence in facts.licences.items()]
    own = in_markdown(facts.licence or UNKNOWN.capitalize())
    return "\n".join(["## Licence", "", f"{own}.{_commercial_use(facts)}", "", *rows])


def _commercial_use(facts: CardFacts) -> str:
    """Return a sentence that names every part whose licence forbids commercial use; "" if none is known to do so."""
    parts = {**({"this model": facts.licence} if facts.licence else {}), **facts.licences}
    said = ", ".join(f"{as_code(part)} ({in_markdown(licence)})" for part, licence in non_commercial(parts).items())
    return f" Not for commercial use, by the licence of {said}." if said else ""
