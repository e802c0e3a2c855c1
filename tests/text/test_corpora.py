"""Test that text is read from files and checked line by line."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict
from text_forms import write

from bistil_ds.errors import InputError
from bistil_ds.text import (
    check_chunks,
    check_different,
    check_text_file,
    load_texts,
)
from bistil_ds.text.specification import HubDataset, parse_by_language, parse_specification


def jsonl(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl", "a.jsonl.gz"])
def test_every_file_form_gives_the_same_texts(tmp_path: Path, name: str) -> None:
    texts = ["günaydın dünya", "second\u2028line", "three"]
    lines = "\ufeff" + texts[0] + "\r\n\n   \n" + "\n".join(texts[1:])
    records = jsonl({"text": texts[0], "id": 1}, {"text": " "}, {"text": texts[1]}, {"text": texts[2]})
    path = write(tmp_path / name, records if "jsonl" in name else lines)
    check_text_file(path, "--source_file")
    loaded = load_texts(path, name="--source_file")
    assert loaded["text"][:] == texts
    assert loaded.cache_files  # the texts are memory-mapped, not held in memory


def test_a_file_is_read_once_and_again_when_its_content_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bistil_ds.runs.findings.SETTLED", 10**18)  # however long this test takes
    path = write(tmp_path / "a.txt", "one\ntwo\n")
    first = load_texts(path)
    stored = next(cache.glob("texts-*/*.arrow"))
    written = stored.stat().st_mtime_ns
    moved = path.rename(tmp_path / "b.txt")
    assert load_texts(moved)._fingerprint == first._fingerprint
    assert stored.stat().st_mtime_ns == written
    stat = moved.stat()
    write(moved, "one\nTWO\n")  # size and time are the same, so that only the content differs
    os.utime(moved, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert load_texts(moved)["text"][:] == ["one", "TWO"]


def test_a_dataset_of_the_user_passes_with_its_text_column_only() -> None:
    own = Dataset.from_dict({"body": ["x", "y"], "id": [1, 2]})
    assert load_texts(own, text_column="body")[1] == {"text": "y"}
    with pytest.raises(InputError, match=r"no column 'text' \(it has body, id\)"):
        load_texts(own)
    with pytest.raises(InputError, match="int64"):
        load_texts(own, text_column="id")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            DatasetDict(train=Dataset.from_dict({"text": ["x"]})),
            "DatasetDict cannot be read; give one split of it, such as ds['train']",
        ),
        (Dataset.from_dict({"text": ["x"]}).to_iterable_dataset(), "IterableDataset cannot be read; give a file, or a"),
        (["x", "y"], 'list cannot be read; give a file, or a Dataset such as Dataset.from_dict({"text": texts}) makes'),
    ],
)
def test_what_is_neither_a_name_nor_a_dataset_is_refused(spec: Any, expected: str) -> None:
    for refused in (lambda: load_texts(spec, name="--text en"), lambda: check_text_file(spec, "--text en")):
        with pytest.raises(InputError, match=re.escape(f"--text en: a value of type {expected}")):
            refused()


def test_a_missing_text_in_jsonl_is_blank(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": null}\n{"text": "a"}\n{"text": null}\n{"text": "b"}\n')
    check_text_file(path, "--source_file")
    assert load_texts(path)["text"][:] == ["a", "b"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("wiki/tr", HubDataset("wiki/tr", None, "train")),
        ("wiki/tr:2023.tr", HubDataset("wiki/tr", "2023.tr", "train")),
        ("wiki/tr::test", HubDataset("wiki/tr", None, "test")),
        ("data/tr.txt", Path("data/tr.txt")),
        ("/data/tr", Path("/data/tr")),
        ("tr", Path("tr")),
    ],
)
def test_a_specification_is_a_path_or_a_hub_id(spec: str, expected: object) -> None:
    assert parse_specification(spec) == expected


BAD = {
    "empty.txt": (b"", "holds no text"),
    "blank.txt": (b"\n  \r\n\n", "holds no text"),
    "latin.txt": (b"one\n\ntwo\ncaf\xe9\nfour", r"latin\.txt, line 4 is not UTF-8 \(byte 0xe9\)"),
    "cut.txt": (b"one\ntwo \xc3", r"cut\.txt, line 2 is not UTF-8"),
    "utf16.txt": ("one\ntwo\n".encode("utf-16-le"), r"utf16\.txt, line 1 has a NUL"),
    "plain.gz": (b"not gzip at all", "not a whole gzip file"),
    "cut.txt.gz": (gzip.compress(b"some text\n" * 99)[:-9], "not a whole gzip file"),
    "broken.jsonl": (b'{"text": "a"}\n{"text": \n', r"broken\.jsonl, line 2 is not JSON"),
    "list.jsonl": (b'["a"]\n', "line 1 is not an object"),
    "other.jsonl": (b'{"text": "a"}\n\n{"body": "b"}\n', r"line 3 has no column 'text' \(it has body\)"),
    "null.jsonl": (b'{"text": null}\n', "holds no text"),
    "number.jsonl": (b'{"text": 3}\n', "line 1: column 'text' is int, not a string"),
    "lines.tsv": (b'text\n"one"\n"two\nthree"\n', "line 3 begins with a quote that it does not end"),
    "surrogate.jsonl": (b'{"text": "ok"}\n{"text": "\\ud83d half"}\n', "line 2: the text has an escaped surrogate"),
    "deep.jsonl": (b"[" * 200_000, "line 1 is not JSON"),
    "blank.jsonl": (b'{"text": " "}\n', "holds no text"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_one_line_that_says_where(tmp_path: Path, cache: Path, name: str) -> None:
    content, expected = BAD[name]
    path = tmp_path / name
    path.write_bytes(content)
    for refused in (lambda: check_text_file(path, "--source_file"), lambda: load_texts(path, name="--source_file")):
        with pytest.raises(InputError, match=expected) as caught:
            refused()
        assert str(caught.value).startswith("--source_file: ")
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize("check", [check_text_file, lambda path, flag: load_texts(path, name=flag)])
def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path: Path, check: object) -> None:
    with pytest.raises(InputError, match=r"--target_file: there is no file .*absent\.txt"):
        check(tmp_path / "absent.txt", "--target_file")  # type: ignore[operator]
    with pytest.raises(InputError, match="holds no files"):
        check(tmp_path, "--target_file")  # type: ignore[operator]


def test_a_pipe_is_refused_without_reading_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(InputError, match="is a pipe or device"):
        check_text_file(tmp_path / "pipe.txt", "--source_file")
    with pytest.raises(InputError, match="is a pipe or device"):
        load_texts(tmp_path / "pipe.txt")


def test_a_character_across_two_blocks_is_still_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bistil_ds.text.text_files.BLOCK_BYTES", 3)
    check_text_file(write(tmp_path / "a.txt", "aağıçş\n漢字\n"), "--source_file")


def test_a_hub_dataset_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    code = """
from bistil_ds.text import check_text_file, load_texts
from bistil_ds.errors import InputError
for refused in (check_text_file, lambda spec, flag: load_texts(spec, name=flag)):
    try:
        refused("nobody/nothing-here:tr", "--source_file")
    except InputError as error:
        print(error)
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    lines = shown.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("--source_file: no file nobody/nothing-here, and as a hub data set") for line in lines)


def test_one_text_for_two_languages_is_refused(tmp_path: Path) -> None:
    first, second = write(tmp_path / "en.txt", "hello\n"), write(tmp_path / "tr.txt", "selam\n")
    check_different({"--text en": first})
    check_different({"--text en": first, "--text tr": second, "--text ha": "wiki/ha"})
    (tmp_path / "link.txt").symlink_to(first)
    (tmp_path / "hard.txt").hardlink_to(first)
    write(tmp_path / "copy.txt", "hello\n")
    for same in (first, tmp_path / "link.txt", tmp_path / "hard.txt", tmp_path / "copy.txt"):
        with pytest.raises(InputError, match="--text en and --text sw are the same text; give each language a text"):
            check_different({"--text en": first, "--text tr": second, "--text sw": same})
    with pytest.raises(InputError, match="same text"):
        check_different({"--source_file wiki/en": "wiki/en", "--target_file wiki/en::train": "wiki/en::train"})


def test_words_name_a_language_once_and_what_it_has() -> None:
    assert parse_by_language(["en=a=b.txt", "tr=hf:org/name:tr"], "--text", "tr=tr.txt") == {
        "en": "a=b.txt",
        "tr": "hf:org/name:tr",
    }
    for words, message in (
        (["en.txt"], r"--text en\.txt: expected a language and what it has, such as tr=tr\.txt"),
        (["=en.txt"], "--text =en.txt: expected a language"),
        (["en="], "--text en=: expected a language"),
        (["en=a.txt", "tr=b.txt", "en=c.txt"], "--text: en is given twice; give each language once"),
    ):
        with pytest.raises(InputError, match=message):
            parse_by_language(words, "--text", "tr=tr.txt")


def test_too_few_chunks_are_refused() -> None:
    check_chunks(8, 8, "--target_file tr.txt")
    with pytest.raises(InputError, match=r"tr\.txt gives 7 training chunks but one batch needs 8"):
        check_chunks(7, 8, "--target_file tr.txt")
