"""Test which texts a folder holds: those of its files, or of a data set that was saved there."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict
from text_forms import FLAG, TEXTS, jsonl, lines, parquet

from bistil_ds.errors import InputError
from bistil_ds.text import check_different, check_text_file, load_texts
from bistil_ds.text.corpus import corpus_hash


def saved(folder: Path, **splits: list[str]) -> Path:
    sets = {split: Dataset.from_dict({"id": list(range(len(texts))), "text": texts}) for split, texts in splits.items()}
    (DatasetDict(sets) if len(sets) > 1 or "train" in sets else sets["all"]).save_to_disk(folder)
    return folder


@pytest.mark.parametrize("splits", [{"all": TEXTS}, {"train": TEXTS}])
def test_a_saved_dataset_gives_its_texts(tmp_path: Path, splits: dict[str, list[str]]) -> None:
    folder = saved(tmp_path / "set", **splits)
    check_text_file(folder, FLAG)
    texts = load_texts(folder)
    assert texts["text"][:] == TEXTS
    assert texts.column_names == ["text"]
    assert load_texts(folder, max_texts=1)["text"][:] == TEXTS[:1]
    assert load_texts(saved(tmp_path / "other", all=TEXTS[1:]))._fingerprint != texts._fingerprint
    assert load_texts(saved(tmp_path / "copy", **splits))._fingerprint == texts._fingerprint


def test_a_saved_dataset_with_several_splits_is_asked_for_one(tmp_path: Path) -> None:
    folder = saved(tmp_path / "set", train=TEXTS, test=TEXTS[:1])
    with pytest.raises(InputError, match=r"has the splits train, test; give the folder of one, such as .*/set/SPLIT"):
        check_text_file(folder, FLAG)
    assert load_texts(folder / "test")["text"][:] == TEXTS[:1]


def test_a_folder_gives_the_texts_of_its_files_in_the_order_of_their_paths(tmp_path: Path) -> None:
    folder = tmp_path / "text"
    for name, content in {
        "AA/wiki_00": jsonl(TEXTS[:1]),
        "AB/wiki_00": jsonl(TEXTS[1:2]),
        "b.parquet": parquet(TEXTS[2:]),
        ".hidden": b"no text\n",
        ".git/config": b"nor this\n",
        "c.txt.gz": gzip.compress(b""),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    check_text_file(folder, FLAG)
    assert load_texts(folder)["text"][:] == TEXTS
    assert load_texts(folder, max_texts=2)["text"][:] == TEXTS[:2]
    before = corpus_hash(folder, FLAG)
    (folder / "AB" / "wiki_00").write_bytes(jsonl(["Another text."]))
    assert load_texts(folder)["text"][:] == [TEXTS[0], "Another text.", TEXTS[2]]
    assert corpus_hash(folder, FLAG) != before
    with pytest.raises(InputError, match="same text"):
        check_different({"one": folder, "other": str(folder) + "/."})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.txt", "a.txt.gz"], r"a\.txt and a\.txt\.gz seem to be the same text twice"),
        (["a.txt", "a.jsonl"], r"a\.jsonl and a\.txt seem to be the same text twice"),
        (["a.txt", "README.md"], r"README\.md lies among the texts"),
        (["a.txt", "LICENSE"], "LICENSE lies among the texts"),
        (["a.txt", "weights.bin"], r"weights\.bin lies among the texts"),
        ([], "holds no files"),
    ],
)
def test_a_folder_with_files_that_may_be_no_texts_is_asked_about(
    tmp_path: Path, names: list[str], expected: str
) -> None:
    (tmp_path / "text").mkdir()
    for name in names:
        (tmp_path / "text" / name).write_bytes(lines(TEXTS))
    with pytest.raises(InputError, match=expected):
        check_text_file(tmp_path / "text", FLAG)


def test_links_in_a_folder_neither_hide_texts_nor_lead_in_circles(tmp_path: Path) -> None:
    folder, other = tmp_path / "text", tmp_path / "elsewhere"
    folder.mkdir()
    other.mkdir()
    (other / "a.txt").write_bytes(lines(TEXTS))
    (folder / "linked").symlink_to(other)
    assert load_texts(folder)["text"][:] == TEXTS
    (folder / "broken.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"there is no file .*broken\.txt"):
        load_texts(folder)
    (folder / "broken.txt").unlink()
    (folder / "up").symlink_to(folder)
    with pytest.raises(InputError, match="is a link to a folder above it"):
        load_texts(folder)


def test_folders_without_end_are_refused(tmp_path: Path) -> None:
    tmp_path.joinpath("text", *["d"] * 60).mkdir(parents=True)
    with pytest.raises(InputError, match="text has more than 50 folders inside one another"):
        load_texts(tmp_path / "text")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_or_folder_below_is_named(tmp_path: Path) -> None:
    (tmp_path / "text" / "below").mkdir(parents=True)
    (tmp_path / "text" / "a.txt").write_bytes(lines(TEXTS))
    (tmp_path / "text" / "below").chmod(0)
    with pytest.raises(InputError, match=r"below cannot be read \(Permission denied\)"):
        load_texts(tmp_path / "text")
    (tmp_path / "text" / "below").chmod(0o700)
    (tmp_path / "text" / "a.txt").chmod(0)
    with pytest.raises(InputError, match=r"a\.txt cannot be read \(Permission denied\)"):
        load_texts(tmp_path / "text")


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text" / "below").mkdir(parents=True)
    entries = Path.iterdir

    def refuse(path: Path) -> object:
        if path.name == "below":
            raise PermissionError(13, "Permission denied", str(path))
        return entries(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match=r"below cannot be read \(Permission denied\)"):
        load_texts(tmp_path / "text")
