"""Test that transformers' pipelines load exported folders of several families, and predict what this package does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from export_folders import CLASSES, INPUTS
from seqeval.metrics.sequence_labeling import get_entities
from student_models import KINDS, tiny_teacher
from tiny import text_lines, unigram_tokenizer
from tokenizer_kinds.bpe_tokenizers import byte_fallback, byte_level
from tokenizer_kinds.other_tokenizers import LINES, byte_level_tokenizer, wordpiece_tokenizer
from transformers import AutoTokenizer, pipeline

from bistil_ds import export_model
from bistil_ds.tasks import find_task
from bistil_ds.tasks.data import TaskData
from bistil_ds.tasks.examples import Place, SentencePair, TaggedSentence
from bistil_ds.tasks.models import load_task_model
from bistil_ds.tasks.prediction import predict

HERE = Place("here", 1)
LABELS = {
    "ner": ("O", "B-LOC", "I-LOC", "B-PER", "I-PER"),
    "pos": ("ADJ", "NOUN", "VERB"),
    "nli": ("contradiction", "entailment", "neutral"),
    "mlm": (),
}
LONG = text_lines("aa", 6, seed=3) + text_lines("bb", 6, seed=4)
OTHERS = [kind for kind in KINDS if kind not in ("bert", "xlm-roberta", "modernbert")]


def tokenizer_of(kind: str) -> Any:
    """Return a tokenizer of the kind that models of this family have."""
    if kind == "bert":
        return wordpiece_tokenizer()
    if kind == "modernbert":
        return byte_level_tokenizer()
    if kind == "eurobert":
        return byte_level(LINES, 300, ignore_merges=True)
    return unigram_tokenizer()


def exported(folder: Path, kind: str, task: str, tokenizer: Any = None) -> Path:
    """Export a random model of the task; return the exported folder."""
    tokenizer = tokenizer or tokenizer_of(kind)
    names = {"id2label": dict(enumerate(LABELS[task])), "label2id": {name: i for i, name in enumerate(LABELS[task])}}
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("pad", "bos", "cls", "eos", "sep")}
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 130}
    sizes |= {name: number for name, number in ids.items() if number is not None}
    auto = getattr(transformers, CLASSES[task])
    model = tiny_teacher(kind, layers=2, auto=auto, **sizes, **(names if LABELS[task] else {}))
    if LABELS[task]:
        balance(model, tokenizer)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return export_model(folder / "model", task=task, output_dir=folder / "exported")


@torch.no_grad()
def balance(model: Any, tokenizer: Any) -> None:
    """Shift a random model's scores of its classes so that it predicts several of them."""
    batch = tokenizer(LONG, LONG[::-1], padding=True, return_tensors="pt")
    logits = model(**{name: batch[name] for name in INPUTS}).logits
    linear = [each for each in model.modules() if isinstance(each, torch.nn.Linear)]
    last = next(each for each in linear[::-1] if each.out_features == model.config.num_labels)
    last.bias = torch.nn.Parameter(-logits.flatten(0, -2).mean(0) + (0 if last.bias is None else last.bias))


def ours(folder: Path, task: str, examples: Sequence[Any]) -> list[Any]:
    """Return what `evaluate.py` would find for these examples."""
    loaded = load_task_model(str(folder), task=find_task(task))
    rows = loaded.task.features(examples, loaded.tokenizer, loaded.labels, 120, training=False)
    data = TaskData(loaded.task, None, "here", list(examples), rows)
    cpu, pad = torch.device("cpu"), loaded.model.config.pad_token_id
    return predict(loaded.model, data, loaded.labels, batch_size=4, device=cpu, pad_token_id=pad)


def sentences(task: str) -> list[TaggedSentence]:
    words = [tuple(line.rstrip(".").split()) for line in LONG]
    return [TaggedSentence(each, (LABELS[task][0],) * len(each), HERE) for each in words]


def word_tags(text: str, tokens: list[dict[str, Any]]) -> list[str]:
    """Return the tag of the first token of each word of `text`; a token may begin with the space before its word."""
    first: dict[int, str] = {}
    for token in tokens:
        start = token["start"] + (text[token["start"]] == " ")
        first.setdefault(text.count(" ", 0, start), token["entity"])
    return [first[word] for word in sorted(first)]


def check_tags(folder: Path, task: str) -> None:
    examples = sentences(task)
    expected = ours(folder, task, examples)
    assert len({tag for tags in expected for tag in tags}) > 1  # one tag for all words would show nothing
    tag = pipeline("token-classification", model=str(folder), ignore_labels=[])
    for example, tags in zip(examples, expected):
        text = " ".join(example.words)
        assert word_tags(text, tag(text)) == tags
        assert word_tags(text, tag(list(example.words), is_split_into_words=True)[0]) == tags


def check_entities(folder: Path) -> None:
    """Compare whole entities, in sentences in which no word begins with a piece that is a space alone.

    In the others, the pipeline takes the piece behind the space for the beginning of a word.
    """
    tag = pipeline("ner", model=str(folder), aggregation_strategy="first")
    pieces = [tag.tokenizer.tokenize(" ".join(example.words)) for example in sentences("ner")]
    examples = [each for each, cut in zip(sentences("ner"), pieces) if not {"▁", "Ġ"} & set(cut)]
    expected = [get_entities(tags) for tags in ours(folder, "ner", examples)]
    assert sum(map(len, expected)) > 0
    for example, entities in zip(examples, expected):
        text = " ".join(example.words)
        found = [(each["entity_group"], text[each["start"] : each["end"]].strip()) for each in tag(text)]
        assert found == [(kind, " ".join(example.words[first : last + 1])) for kind, first, last in entities]


def check_pairs(folder: Path) -> None:
    pairs = [SentencePair(one, other, LABELS["nli"][0], HERE) for one, other in zip(LONG, LONG[::-1])]
    expected = ours(folder, "nli", pairs)
    assert len(set(expected)) > 1
    classify = pipeline("text-classification", model=str(folder))
    found = classify([{"text": pair.premise, "text_pair": pair.hypothesis} for pair in pairs], batch_size=4)
    assert [each["label"] for each in found] == expected


def check_masks(folder: Path) -> None:
    """Compare the best pieces with those of the model itself: our own predictions for `mlm` are counts."""
    loaded = load_task_model(str(folder), task=find_task("mlm"))
    tokenizer = loaded.tokenizer
    fill = pipeline("fill-mask", model=str(folder), top_k=1)
    for line in LONG[:4]:
        words = line.split()
        text = " ".join([*words[:2], tokenizer.mask_token, *words[3:]])
        batch = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            best_T = loaded.model(**batch).logits[0].argmax(-1)
        masked = (batch["input_ids"][0] == tokenizer.mask_token_id).nonzero()
        assert fill(text)[0]["token"] == int(best_T[masked[0]])


def check(folder: Path, task: str) -> None:
    if task == "nli":
        check_pairs(folder)
    elif task == "mlm":
        check_masks(folder)
    else:
        check_tags(folder, task)
    if task == "ner":
        check_entities(folder)


@pytest.mark.parametrize("task", list(LABELS))
@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "modernbert"])
def test_a_pipeline_predicts_what_this_package_does(kind: str, task: str, tmp_path: Path) -> None:
    check(exported(tmp_path, kind, task), task)


@pytest.mark.slow
@pytest.mark.parametrize("task", list(LABELS))
@pytest.mark.parametrize("kind", OTHERS)
def test_so_does_that_of_every_other_family(kind: str, task: str, tmp_path: Path) -> None:
    check(exported(tmp_path, kind, task), task)


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
def test_the_first_word_is_cut_as_all_others_by_every_kind_of_tokenizer(make: Any, tmp_path: Path) -> None:
    tokenizer = make(LINES, 400)
    assert tokenizer("ba")["input_ids"] != tokenizer(" ba")["input_ids"]  # the kind that must be changed
    check_tags(exported(tmp_path, "modernbert", "pos", tokenizer), "pos")
    after = AutoTokenizer.from_pretrained(tmp_path / "exported")
    for text in ("ba kelo", " ba kelo", "  ba\n kelo", "", "\nba"):
        spaced = text if text.startswith(" ") or not text else f" {text}"
        assert after(text)["input_ids"] == tokenizer(spaced)["input_ids"]


def test_other_tasks_keep_their_tokenizer(tmp_path: Path) -> None:
    folder = exported(tmp_path, "modernbert", "nli")
    after = AutoTokenizer.from_pretrained(folder)
    assert after("ba kelo")["input_ids"] == byte_level_tokenizer()("ba kelo")["input_ids"]
