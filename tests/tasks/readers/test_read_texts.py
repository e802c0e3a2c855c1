"""Test that masked language modelling reads texts from the forms that phase 1 reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import Dataset
from reading import read_all, refusal, write

from bistil_ds.errors import InputError
from bistil_ds.tasks.examples import Place, Text
from bistil_ds.tasks.readers import read_tagged, read_texts

ROWS = {"text": ["It rains.", " ", "It is wet."], "body": ["Rain.", "Sun.", "Mud."]}


def test_texts_come_from_content_and_folders_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    write(tmp_path / "set" / "wiki_00", '{"text": "It rains."}\n{"text": " "}\n{"text": "It is wet."}\n')
    Dataset.from_dict(ROWS).to_parquet(tmp_path / "set" / "z.parquet")
    places = [Place(str(tmp_path / "set" / name), line) for name in ("wiki_00", "z.parquet") for line in (1, 3)]
    texts = ["It rains.", "It is wet."] * 2
    assert read_all(read_texts, tmp_path / "set") == [Text(*each) for each in zip(texts, places)]


@pytest.mark.parametrize("place", ["rows.parquet", "saved"])
def test_the_column_of_the_texts_is_named_by_columns(tmp_path: Path, place: str) -> None:
    rows = Dataset.from_dict(ROWS)
    (rows.to_parquet if place.endswith("parquet") else rows.save_to_disk)(tmp_path / place)
    read = read_all(read_texts, tmp_path / place, columns={"text": "body"})
    assert [each.text for each in read] == ROWS["body"]
    assert "name it with --columns text=NAME" in refusal(read_texts, tmp_path / place, columns={"text": "none"})
    assert "the columns here are text" in refusal(read_texts, tmp_path / place, columns={"tags": "body"})


def test_the_column_of_a_dataset_may_end_its_name_where_there_is_one_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bistil_ds.text.hub.load_dataset", lambda *_, **__: Dataset.from_dict(ROWS))
    assert [each.text for each in read_all(read_texts, "hf:org/some::train:body")] == ROWS["body"]
    with pytest.raises(InputError, match="named with --columns, not with :body"):
        read_all(read_tagged, "hf:org/some::train:body")


def test_a_file_may_be_said_to_be_plain(tmp_path: Path) -> None:
    path = write(tmp_path / "words.csv", "ev,evler\ngit\n")
    found = [Text("ev,evler", Place(str(path), 1)), Text("git", Place(str(path), 2))]
    assert read_all(read_texts, f"plain:{path}") == found
    assert "plain:" in refusal(read_tagged, f"plain:{path}")  # only texts may be plain
