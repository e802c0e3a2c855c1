"""Test data sets that the library `datasets` loads: builders of local folders, its cache, and streaming."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import Dataset, load_dataset

from bistil_ds.errors import InputError, Notice
from bistil_ds.text import check_text_file, hub, load_texts
from bistil_ds.text.specification import HubDataset, parse_specification

FLAG = "--source_file"


@pytest.fixture(autouse=True)
def hf_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BISTIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    return tmp_path / "hf"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of JSONL files, one a split, as a builder of `datasets` reads it."""
    (tmp_path / "set").mkdir()
    for split, count in (("train", 40), ("test", 3)):
        rows = [{"id": n, "text": f"{split} text {n}", "note": "a note"} for n in range(count)]
        (tmp_path / "set" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "set"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("hf:wikitext", HubDataset("wikitext", None, "train")),
        ("hf:wiki/tr:2023.tr:test:body", HubDataset("wiki/tr", "2023.tr", "test", "body")),
        ("hf:wiki/tr::train[:1%]+test", HubDataset("wiki/tr", None, "train[:1%]+test")),
        ("hf:a/b/c.txt:::body", HubDataset("a/b/c.txt", None, "train", "body")),
        ("wiki/tr:::body", HubDataset("wiki/tr", None, "train", "body")),
        ("hf:", Path("hf:")),
        ("data/tr.parquet", Path("data/tr.parquet")),
        ("data/tr.zst", Path("data/tr.zst")),
    ],
)
def test_the_name_of_a_dataset_has_four_parts(spec: str, expected: object) -> None:
    assert parse_specification(spec) == expected


def test_a_local_builder_gives_split_and_column(folder: Path) -> None:
    check_text_file(f"hf:{folder}", FLAG)
    assert load_texts(f"hf:{folder}")["text"][:] == [f"train text {n}" for n in range(40)]
    assert load_texts(f"hf:{folder}::test")["text"][:] == [f"test text {n}" for n in range(3)]
    assert load_texts(f"hf:{folder}::train[:2]")["text"][:] == ["train text 0", "train text 1"]
    assert load_texts(f"hf:{folder}::test:note")["text"][:] == ["a note"] * 3


def test_a_long_dataset_is_streamed_and_the_first_texts_are_kept(
    folder: Path, hf_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = 0
    iterate = datasets.IterableDataset.__iter__

    def count(rows: Any) -> Any:
        nonlocal drawn
        for row in iterate(rows):
            drawn += 1
            yield row

    monkeypatch.setattr(datasets.IterableDataset, "__iter__", count)
    first = load_texts(f"hf:{folder}", max_texts=3)
    assert first["text"][:] == [f"train text {n}" for n in range(3)]
    assert drawn <= 5
    assert not list(hf_cache.rglob("*.arrow"))  # `datasets` prepared nothing
    drawn = 0
    assert load_texts(f"hf:{folder}", max_texts=3)._fingerprint == first._fingerprint
    assert drawn == 0
    for other in (load_texts(f"hf:{folder}", max_texts=4), load_texts(f"hf:{folder}:::note", max_texts=3)):
        assert other._fingerprint != first._fingerprint
    (folder / "train.jsonl").write_text('{"id": 0, "text": "changed", "note": ""}\n')
    assert load_texts(f"hf:{folder}", max_texts=3)["text"][:] == ["changed"]


@pytest.mark.parametrize("most", [None, 2])
def test_the_cache_of_datasets_is_read_without_a_network(
    folder: Path, hf_cache: Path, monkeypatch: pytest.MonkeyPatch, most: int | None
) -> None:
    prepared = Path(load_dataset(str(folder), cache_dir=str(hf_cache), split="test").cache_files[0]["filename"]).parent
    kept = hf_cache / "org___rivers" / "default" / "0.0.0" / prepared.name
    shutil.copytree(prepared, kept)
    for path in kept.glob("*.arrow"):
        path.rename(path.with_name(path.name.replace("json-", "rivers-").replace(f"{folder.name}-", "rivers-")))
    shutil.rmtree(folder)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    check_text_file("hf:org/rivers::test", FLAG)
    texts = load_texts("org/rivers::test", max_texts=most)["text"][:]
    assert texts == [f"test text {n}" for n in range(3)][:most]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ("::dev", "split"),
        (":test", "a split comes third, as in .*::test"),
        (":::body", "no column 'body'"),
        (":::id", "column 'id' (holds|is) int"),
    ],
)
@pytest.mark.parametrize("most", [None, 2])
def test_a_part_that_is_not_there_is_named(folder: Path, parts: str, expected: str, most: int | None) -> None:
    with pytest.raises(InputError, match=f"^{FLAG}: .*{expected}"):
        load_texts(f"hf:{folder}{parts}", name=FLAG, max_texts=most)


@pytest.mark.parametrize("most", [None, 2])
def test_the_only_column_of_strings_is_read_and_named(tmp_path: Path, most: int | None) -> None:
    (tmp_path / "set").mkdir()
    Dataset.from_dict({"id": [0, 1], "body": ["It is old.", "So it is."]}).to_parquet(tmp_path / "set" / "a.parquet")
    check_text_file(f"hf:{tmp_path}/set", FLAG)
    with pytest.warns(Notice, match="reading 'body', the only column of strings"):
        assert load_texts(f"hf:{tmp_path}/set", max_texts=most)["text"][:] == ["It is old.", "So it is."]


def test_datasets_prepares_in_our_cache_where_its_own_cannot_be_written(
    folder: Path, hf_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.os, "access", lambda place, mode: Path(place) != hf_cache.parent)
    assert len(load_texts(f"hf:{folder}")) == 40
    assert not hf_cache.exists()
    assert list((tmp_path / "cache" / "datasets").rglob("*.arrow"))


def test_code_in_a_folder_of_a_dataset_never_runs(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (folder / "set.py").write_text(f"open({str(marker)!r}, 'w')\n")
    for spec in (f"hf:{folder}", f"hf:{folder}/set.py"):
        for refused in (lambda spec=spec: check_text_file(spec, FLAG), lambda spec=spec: load_texts(spec, name=FLAG)):
            with pytest.raises(InputError, match="cannot be loaded"):
                refused()
    assert not marker.exists()
