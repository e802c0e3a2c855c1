"""Texts in every form that phase 1 reads: files, compressed or not, folders, and data sets that were saved."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from task_files import damage
from task_files.drawing import draw_words
from text_forms import COMPRESS, extracted, jsonl, lines, table, tabs

from bistil_ds.errors import InputError
from bistil_ds.text import check_text_file, load_texts
from bistil_ds.text.checks import check_different
from bistil_ds.text.corpus import corpus_hash, corpus_texts, readings
from bistil_ds.text.form import FOREIGN, TAR, TAR_AT
from bistil_ds.text.options import TextOptions
from bistil_ds.text.specification import parse_texts
from fuzz.bombs import bomb
from fuzz.family import Family
from fuzz.mutation import ODD_TEXTS, mutated_bytes, often, some

FLAG = "--source_file"
ENDINGS = ["", ".txt", ".json", ".jsonl", ".csv", ".tsv", ".parquet", ".TXT", ".txt.txt", ".conllu", ".CSV"]
COLUMNS = ["id", "url", "Text", "sentence", "", "\ud800"]
SAVED = "saved"
Make = tuple[dict[str, bytes], dict[str, Any]]


def _parquet(texts: list[str], rng: Random) -> bytes:
    kinds = [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string()), pa.list_(pa.string())]
    kind = rng.choice([pa.string(), *kinds])
    values: list[Any] = [[text] for text in texts] if pa.types.is_list(kind) else [*texts, None]
    values = [value.encode() for value in texts] if pa.types.is_binary(kind) else values
    columns = {rng.choice(["text", "text", "t"]): pa.array(values, kind), "n": pa.array(range(len(values)))}
    file = io.BytesIO()
    pq.write_table(
        pa.table(columns), file, row_group_size=2, compression=rng.choice(["none", "snappy", "zstd", "gzip"])
    )
    return file.getvalue()


FOREIGN_TEXTS = (b"<?xml?>\n", b"<html>", b"x" * TAR_AT + TAR, b"a\rb\r")
FORMS: dict[str, tuple[str, Callable[[list[str], Random], bytes]]] = {
    "plain": (".txt", lambda texts, rng: lines(texts)),
    "jsonl": (".jsonl", lambda texts, rng: jsonl(texts)),
    "list": (".json", lambda texts, rng: json.dumps([{"text": text} for text in texts]).encode()),
    "csv": (".csv", lambda texts, rng: table(texts, rng.choice(",;|\t"))),
    "tsv": (".tsv", lambda texts, rng: tabs(texts)),
    "extracted": ("", lambda texts, rng: extracted(texts)),
    "strings": ("", lambda texts, rng: lines([json.dumps(text) for text in texts])),
    "columns": (".txt", lambda texts, rng: lines([f"{text[:1]}{rng.choice(',;|')}x" for text in texts])),
    "tabs": (".txt", lambda texts, rng: lines([f"{n}\t{text}" for n, text in enumerate(texts)])),
    "foreign": (".txt", lambda texts, rng: rng.choice([*(each for each, _ in FOREIGN), *FOREIGN_TEXTS]) + lines(texts)),
    "parquet": (".parquet", _parquet),
}

BINARY = ("parquet", "foreign")


def draw_texts(rng: Random) -> list[str]:
    """Return a few texts, some of them odd; none has a lone surrogate or a line end."""
    odd = [text for text in ODD_TEXTS if text.isprintable()]
    return [" ".join([*draw_words(rng), *some(rng, odd, 1)]) for _ in range(rng.choice([1, 2, 3, 8, 40]))]


def _file(rng: Random) -> tuple[str, bytes]:
    """Return the ending of a file's name, and its content."""
    form = rng.choice(list(FORMS))
    ending, write = FORMS[form]
    content = write(draw_texts(rng), rng)
    kind = rng.choice(["none", "text", "text", "bytes"])
    if kind == "text" and form not in BINARY:
        change = rng.choice([damage.damage_bytes, damage.damage_structure, damage.damage_encoding, damage.damage_size])
        content = change(rng, content.decode())
    packing = rng.choice(["", "", *COMPRESS])
    content = COMPRESS[packing](content)
    if kind == "bytes" or (kind == "text" and form in BINARY):
        content = mutated_bytes(rng, content)
    return often(rng, 0.1, lambda: rng.choice(ENDINGS), ending) + often(rng, 0.05, lambda: ".gz", packing), content


@cache
def _saved() -> dict[str, bytes]:
    """Return path → content of the files of a data set that `save_to_disk` wrote."""
    with tempfile.TemporaryDirectory() as folder:
        Dataset.from_dict({"text": ["one", "two", "three ü"], "n": [1, 2, 3]}).save_to_disk(folder)
        return {f"{SAVED}/{path.name}": path.read_bytes() for path in sorted(Path(folder).iterdir())}


def _saved_files(rng: Random) -> dict[str, bytes]:
    files = dict(_saved())
    if rng.random() < 0.1:
        files = {name.replace(SAVED, f"{SAVED}/train"): content for name, content in files.items()}
        files[f"{SAVED}/dataset_dict.json"] = json.dumps(
            {"splits": rng.choice([["train"], [], ["a", "b"], 3])}
        ).encode()
    name, kind = rng.choice(sorted(files)), rng.random()
    if kind < 0.1:
        del files[name]
    elif kind < 0.8:
        files[name] = mutated_bytes(rng, files[name])
    return files


def make(rng: Random) -> Make:
    about = {
        "column": often(rng, 0.15, lambda: rng.choice(COLUMNS), "text"),
        "plain": rng.random() < 0.1,
        "load": rng.random() < 0.2,
    }
    about["most"] = rng.choice([None, None, None, 1, 3])
    kind = rng.random()
    if kind < 0.002:
        return {"bomb": bomb(rng)}, {**about, "spec": "bomb"}
    if kind < 0.012:  # a data set of the hub may be a folder
        ending, content = _file(rng)
        if rng.random() < 0.5:
            ending, write = FORMS[rng.choice(["jsonl", "csv", "parquet"])]
            content = write(draw_texts(rng), rng)
        split = rng.choice(["", "", "::train[:2]", "::x", "::train:text", ":train", "::train[9:]"])
        return {f"hub/train{ending}": content}, {**about, "plain": False, "spec": "hub", "split": split}
    if kind < 0.06:
        return _saved_files(rng), {**about, "spec": SAVED}
    if kind < 0.15:
        files = {}
        for number in range(rng.randint(0, 3)):
            ending, content = _file(rng)
            inner = rng.choice([*["", "more/", ".hidden/"] * 9, "d/" * 52])
            files[f"folder/{inner}{rng.choice(['a', 'b', 'wiki_00', 'README', str(number)])}{ending}"] = content
        return files or {"folder/.gitkeep": b""}, {**about, "spec": "folder"}
    ending, content = _file(rng)
    name = f"{rng.choice(['a', 'b.c', 'ü', ' ', 'a b', 'hf:a', 'x/y'])}{ending}"
    return {name: content}, {**about, "spec": name}


def run(folder: Path, about: Mapping[str, Any]) -> None:
    """Read a corpus in every way that a command does; what the check accepts must be read, and the same each time."""
    start = "hf:" if "split" in about else "plain:" if about["plain"] else ""
    spec = f"{start}{folder / about['spec']}{about.get('split', '')}"
    column, most = about["column"], about["most"]
    check_text_file(spec, FLAG, column, most)
    corpus, options = parse_texts(spec, TextOptions(FLAG, column))
    texts = list(corpus_texts(corpus, options, most))
    if not texts and "split" in about:
        load_texts(spec, text_column=column, max_texts=most, name=FLAG)  # raises: the check reads no rows of the hub
    assert texts, "accepted, but holds no text"
    assert all(text.strip() for text in texts)
    "".join(texts).encode()  # raises for a lone surrogate
    assert bool(corpus_hash(spec, FLAG)) != ("split" in about)
    readings(spec, FLAG, column)
    try:
        check_different({FLAG: spec, "--target_file": spec})
    except InputError:
        pass
    else:
        raise AssertionError("a text is not the same as itself")
    if about["load"]:
        loaded = load_texts(spec, text_column=column, max_texts=most, name=FLAG)
        assert [text for text in loaded["text"] if text and text.strip()] == texts
        assert len(load_texts(loaded, max_texts=1)) == 1


MODULES = ("compression", "corpus", "folders", "form", "hub", "loading", "options", "parquet", "specification")
MODULES += ("text_files",)
FAMILY = Family(
    "texts",
    0.2,
    make,
    run,
    lines=tuple(f"text/{name}.py" for name in MODULES),
)
