"""Files of every task, test sets of sentence vectors among them, with options that name columns, labels, a language."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from task_files import damage
from text_forms import COMPRESS
from tiny import unigram_tokenizer

from bistil_ds.embedding.settings import SentenceSettings
from bistil_ds.evaluation.embedding.readers import read_sentences
from bistil_ds.tasks import ReadOptions, Task, find_task
from bistil_ds.tasks.embed.embed import SentenceEmbedding
from fuzz.bombs import bomb
from fuzz.families.task_files_of import FOLDERS, MAKERS
from fuzz.family import Family
from fuzz.mutation import ODD_TEXTS, ODD_VALUES, mutated_bytes, often

FLAG = "--train_file"
CELL_EDITS = (damage.edit_columns, damage.edit_numbers, damage.edit_tags)
TEXTS = [text for text in ODD_TEXTS if not any("\ud800" <= character <= "\udfff" for character in text)]
OUR_COLUMNS = ["tokens", "tags", "upos", "head", "premise", "label", "text", "id", "question", "language", "score", "x"]
THEIRS = [
    *["1", "2", "3", "4"] * 3,
    "0",
    "-1",
    "9999",
    "99999",
    "٣",
    "tokens",
    "ner_tags",
    "label",
    "lang",
    "text",
    *TEXTS,
]
COLUMNS = {
    "ner": ["tokens", "tags"],
    "pos": ["tokens", "upos"],
    "nli": ["premise", "hypothesis", "label", "language"],
    "qa": ["id", "question", "context", "answers", "language"],
    "mlm": ["text"],
    "scored": ["sentence1", "sentence2", "score"],
    "beir": ["query-id", "corpus-id", "score"],
}
MAPPED = [0] * 12 + [1, 2, 3, 3]  # labels in a label map
TAGS = ["O", "0", "B-52", "ART", "nsubj:pass", "neutral"]
LABELS = {
    "ner": ["PER", "B-PER", "I-PER", "LOC", "B-LOC", "O", "LABEL_1", "0", "1", "2"],
    "pos": ["NOUN", "X", "VERB"],
    "dp": ["nsubj", "root", "obl", "dep"],
    "nli": ["0", "1", "2", "entailment", "neutral", "entails"],
}
LANGUAGES = [*[None] * 9, "en", "en", "de", "English", "zh-TW", "", "aa", "ü", "\ud800"]


def damaged(rng: Random, text: str, ending: str) -> bytes:
    """Return a file, damaged in one way or, now and then, not at all."""
    kind = rng.choice(
        ["none", "none", "keys", "bytes", "cells", "cells", "values", "structure", "encoding", "size", "mutated"]
    )
    if kind in ("cells", "values") and ending.startswith(".json"):
        values = rng.choice([*damage.JSON_VALUES.values(), ODD_VALUES])
        if ending == ".jsonl":
            rows: Any = damage.damage_json(rng, [json.loads(line) for line in text.splitlines()], values)
            return b"\n".join(_dumped(rng, row) for row in rows)
        return _dumped(rng, damage.damage_json(rng, json.loads(text), values))
    if kind in ("cells", "values"):
        return damage.damage_cells(rng, text, rng.choice(CELL_EDITS))
    if kind == "keys":
        more = rng.choice(['"id": 1, "id": 2, ', f'"n": {"9" * 5000}, ', '"is_impossible": true, ', '"language": 3, '])
        first, *objects = text.split("{")
        return "{".join([first, *(f"{rng.choice(['', more])}{part}" for part in objects)]).encode()
    if kind == "mutated":
        return mutated_bytes(rng, text.encode())
    return text.encode() if kind == "none" else getattr(damage, f"damage_{kind}")(rng, text)


def _dumped(rng: Random, value: Any) -> bytes:
    return damage.dumped(rng, value).encode("utf-8", errors="surrogatepass")


def make(rng: Random) -> tuple[dict[str, bytes], dict[str, Any]]:
    task = rng.choice([*MAKERS, *MAKERS, *FOLDERS])
    ours, labels = (names.get(task, ["x"]) * 4 + rest for names, rest in ((COLUMNS, OUR_COLUMNS), (LABELS, TAGS)))
    about: dict[str, Any] = {
        "columns": {rng.choice(ours): rng.choice(THEIRS) for _ in range(rng.choice([0] * 8 + [1, 2, 2]))},
        "label_map": {rng.choice(labels): rng.choice([*labels, *TEXTS]) for _ in range(rng.choice(MAPPED))},
        "language": rng.choice(LANGUAGES),
        "rows": rng.random() < 0.25,
    }
    if task in COLUMNS and rng.random() < 0.03:  # as for a table without a header
        about["columns"] = {name: str(number) for number, name in enumerate(COLUMNS[task], rng.choice([0, 1, 1, 2]))}
    if task in FOLDERS:
        files = {name: text.encode() for name, text in FOLDERS[task](rng).items()}
        name = rng.choice(sorted(files))
        ending = ".jsonl" if name.endswith("jsonl") else ".tsv"
        files[name] = damaged(rng, files[name].decode(), ending)
        if rng.random() < 0.03:
            del files[name]
        return files, {**about, "task": task, "name": "."}
    ending, text = rng.choice(MAKERS[task])(rng)
    content = damaged(rng, text, ending)
    if rng.random() < 0.003:
        return {"bomb": bomb(rng)}, {**about, "task": task, "name": "bomb", "unlabelled": False}
    packing = rng.choice([*[""] * 12, *COMPRESS])
    content = often(rng, 0.05, lambda: mutated_bytes(rng, COMPRESS[packing](content)), COMPRESS[packing](content))
    if rng.random() < 0.006:
        return {f"hub/train{ending}": content}, {**about, "task": task, "name": "hub", "hub": True, "unlabelled": False}
    name = f"a{often(rng, 0.1, lambda: rng.choice(['', '.txt', '.json', '.conllu', '.tsv']), ending)}{packing}"
    return {name: content}, {**about, "task": task, "name": name, "unlabelled": rng.random() < 0.05}


@cache
def _tokenizer() -> Any:
    return unigram_tokenizer()


@cache
def _task(name: str) -> Task:
    return SentenceEmbedding(SentenceSettings()) if name == "embed" else find_task(name)


def run(folder: Path, about: Mapping[str, Any]) -> None:
    """Read all examples as a command does; turn some into rows. All their strings can be written as UTF-8."""
    options = ReadOptions(FLAG, about["columns"], about["label_map"], about["language"])
    source, name = str(folder / about["name"]), about["task"]
    source = f"hf:{source}" if "hub" in about else source
    if name in ("parallel", "beir", "scored"):
        source = f"{folder}/a.txt,{folder}/b.txt" if name == "parallel" else source
        found = read_sentences(_task("embed"), source, options, progress=False)
        _check_strings([found.texts, found.text_keys()])  # type: ignore[attr-defined]
        return
    task = _task(name)
    read = task.read_unlabelled if about["unlabelled"] else task.read
    examples = list(read(source, options))
    assert examples, "accepted, but holds no example"
    for example in examples:
        _check_strings([task.text_key(example), *task.text_keys(example)])
        if not about["unlabelled"]:
            _check_strings(getattr(example, slot) for slot in example.__slots__)
    if about["rows"] and len(examples) < 300:
        labels = () if about["unlabelled"] else task.labels(examples)
        task.features(examples, _tokenizer(), labels, 64, training=True)


def _check_strings(values: Any) -> None:
    """Raise UnicodeEncodeError if a string in the values, however deep, is no text."""
    if isinstance(values, str):
        values.encode()
    elif isinstance(values, Mapping):
        _check_strings(values.items())
    elif isinstance(values, Iterable):
        for value in values:
            _check_strings(value)


READERS = (
    "columns",
    "conllu",
    "conllu_words",
    "delimited",
    "iob2",
    "json_documents",
    "json_values",
    "language",
    "layout",
)
READERS += ("lines", "pairs", "records", "squad", "tag_map", "tagged_rows", "text", "tree_check")
FAMILY = Family(
    "task data",
    0.42,
    make,
    run,
    lines=(
        *(f"tasks/readers/{name}.py" for name in READERS),
        "tasks/embed/pairs.py",
        *(f"evaluation/embedding/{name}.py" for name in ("readers", "beir", "numbers")),
    ),
)
