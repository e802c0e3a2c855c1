"""Tiny task models whose answers depend on their input, and examples that they answer without an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from export_folders import LABELS
from tiny import text_lines, write_teacher, xlmr
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel

from bistil_ds.export.engines.dev_sets import answers_of
from bistil_ds.tasks import Task, find_task
from bistil_ds.tasks.data import TaskData
from bistil_ds.tasks.examples import Place, Question, SentencePair, TaggedSentence, Text, Tree
from bistil_ds.tasks.models import LoadedTaskModel

LENGTH = 48
EMBED = {"sentence": {"pooling": ["mean"], "normalise": True, "prompts": {"query": "ba: "}, "default_prompt": "query"}}


def write_task_model(folder: Path, name: str) -> LoadedTaskModel:
    """Write a task model of two layers with its tokenizer to `folder` and return it."""
    write_teacher(folder, layers=2)
    task = find_task(name)
    if name == "embed":
        base = xlmr(len(AutoTokenizer.from_pretrained(folder)), layers=2)
        base.config.update(EMBED)
        base.save_pretrained(folder)
        task = task.for_model(folder)
    labels = () if name == "embed" else tuple(LABELS[name])
    model = task.load_model(folder, labels).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part, weight in model.named_parameters():
            if not part.startswith(f"{model.base_model_prefix}."):
                weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if name in ("ner", "nli", "pos"):
        _balance(model, tokenizer(text_lines("aa", 40, seed=8), padding=True, return_tensors="pt"))
    model.save_pretrained(folder)
    return LoadedTaskModel(model, tokenizer, task, labels)


def answered(loaded: LoadedTaskModel, sentences: int, language: str = "aa") -> TaskData:
    """Return examples whose labels are the model's own answers, so that it scores 1 (a masked language model does not).

    Examples of `embed` are labelled with the model's vectors.
    """
    examples = [_example(loaded, words.split(), place) for place, words in enumerate(text_lines(language, sentences))]
    data = _data(loaded, examples, language)
    answers = answers_of(loaded.model, loaded, "PyTorch")(data)
    return _data(loaded, [_labelled(loaded.task, *pair) for pair in zip(examples, answers, strict=True)], language)


def write_pos(path: Path, examples: Sequence[TaggedSentence]) -> Path:
    """Write tagged sentences in CoNLL-U and return the path."""
    lines = []
    for example in examples:
        for number, (word, tag) in enumerate(zip(example.words, example.tags), 1):
            lines.append(f"{number}\t{word}\t_\t{tag}\t_\t_\t{number - 1}\tdep\t_\t_")
        lines.append("")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@torch.no_grad()
def _balance(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> None:
    """Shift the classifier's bias so that no class is the most probable one everywhere."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    bias = next(p for n, p in model.named_parameters() if n in ("classifier.bias", "classifier.out_proj.bias"))
    bias -= logits.flatten(0, -2).mean(0)


def _data(loaded: LoadedTaskModel, examples: list[Any], language: str) -> TaskData:
    rows = loaded.task.features(examples, loaded.tokenizer, loaded.labels, LENGTH, training=False)
    return TaskData(loaded.task, language, f"{language}.txt", examples, rows)


def _example(loaded: LoadedTaskModel, words: list[str], number: int) -> Any:
    place, label, text = Place("made up", number), (*loaded.labels, "")[0], " ".join(words)
    if loaded.task.name in ("ner", "pos"):
        return TaggedSentence(tuple(words), (label,) * len(words), place)
    if loaded.task.name == "dp":
        return Tree(tuple(words), ("X",) * len(words), tuple(range(len(words))), (label,) * len(words), place)
    if loaded.task.name == "nli":
        return SentencePair(text, " ".join(words[::-1]), label, place)
    if loaded.task.name == "qa":
        return Question(str(number), words[0], text, ((words[-1], text.rindex(words[-1])),), place)
    return Text(text, place)


def _labelled(task: Task, example: Any, answer: Any) -> Any:
    if task.needs_teacher:
        return task.with_teacher(example, answer)
    if isinstance(example, TaggedSentence):
        return replace(example, tags=tuple(answer))
    if isinstance(example, Tree):
        return replace(example, heads=answer[0], relations=answer[1])
    if isinstance(example, SentencePair):
        return replace(example, label=answer)
    if isinstance(example, Question):
        return replace(example, answers=((answer, max(example.context.find(answer), 0)),))
    return example
