"""Test that IOB2 is read with its order checked, and that labels are renamed by entity type or whole tag."""

from __future__ import annotations

from pathlib import Path

import pytest
from reading import read_all, refusal, write

from bistil_ds.tasks.examples import Place, TaggedSentence
from bistil_ds.tasks.readers import read_tagged


def tags_of(path: Path, **options: object) -> list[tuple[str, ...]]:
    return [sentence.tags for sentence in read_all(read_tagged, path, **options)]


def column(*tags: str) -> str:
    return "".join(f"x {tag}\n" for tag in tags)


@pytest.mark.parametrize("separator", [" ", "\t"])
def test_tokens_and_tags_are_read_by_sentence(tmp_path: Path, separator: str) -> None:
    text = "-DOCSTART- O\n\n# O\nIn O\nNew B-LOC\nYork I-LOC\n\n\nAda B-PER\n-DOCSTART- O\nBo B-PER"
    path = write(tmp_path / "a.txt", text.replace(" ", separator))
    assert read_all(read_tagged, path) == [
        TaggedSentence(("#", "In", "New", "York"), ("O", "O", "B-LOC", "I-LOC"), Place(str(path), 3)),
        TaggedSentence(("Ada",), ("B-PER",), Place(str(path), 9)),
        TaggedSentence(("Bo",), ("B-PER",), Place(str(path), 11)),
    ]


def test_of_more_columns_the_first_and_the_last_count(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "-DOCSTART- -X- -X- O\n\nEU NNP I-NP B-ORG\nrejects VBZ I-VP O\n")
    assert read_all(read_tagged, path)[0].words == ("EU", "rejects")
    assert tags_of(path) == [("B-ORG", "O")]


def test_a_token_in_a_tabbed_file_may_hold_spaces(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "New York\tB-LOC\n\u00a0\tO\n")
    assert read_all(read_tagged, path)[0].words == ("New York", "\u00a0")


ORDER = {
    "after O": ("O I-PER", "line 2: tag 'I-PER' follows 'O'; in IOB2"),
    "at the beginning": ("I-PER", "line 1: tag 'I-PER' begins the sentence"),
    "after another type": ("B-LOC I-PER", "line 2: tag 'I-PER' follows 'B-LOC'"),
    "other scheme": ("B-PER E-PER", "line 2: tag 'E-PER'; expected O, B-TYPE or I-TYPE (IOB2)"),
    "no scheme": ("PER", "line 1: tag 'PER'; expected O, B-TYPE or I-TYPE (IOB2)"),
    "no type": ("B-", "line 1: tag 'B-'"),
    "small o": ("o", "line 1: tag 'o'"),
}


@pytest.mark.parametrize("name", ORDER)
def test_tags_out_of_order_are_refused(tmp_path: Path, name: str) -> None:
    tags, expected = ORDER[name]
    assert expected in refusal(read_tagged, write(tmp_path / "a.txt", column(*tags.split())))


LINES = {
    "one column": ("x\n", "line 1: 'x' is one column; expected a token, a tab or space, and its tag"),
    "two tokens in a line": ("a O\nb O c O\n", "line 2: 4 columns parted by spaces ('b O c O'); line 1 has 2"),
    "no token": ("a O\n O\n", "line 2: an empty column"),
    "two spaces": ("a O\nb  O\n", "line 2: 3 columns"),
    "tab among spaces": ("a O\nb\tc O\n", "line 2: an empty column, or tabs and spaces mixed"),
    "spaces only": ("a O\n \nb O\n", "line 2: only spaces"),
    "old Mac lines": ("a O\rb O\rc O\r\n", "line 1 has a carriage return inside"),
    "empty": ("", "holds no sentence"),
    "only documents": ("-DOCSTART- O\n\n", "holds no sentence"),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_that_are_not_as_the_format_says_are_refused(tmp_path: Path, name: str) -> None:
    text, expected = LINES[name]
    assert expected in refusal(read_tagged, write(tmp_path / "a.txt", text))


RENAMED = {
    "a type goes": ({"DATE": "O"}, "B-DATE I-DATE B-PER I-PER", "O O B-PER I-PER"),
    "a type changes": ({"PERSON": "PER"}, "B-PERSON I-PERSON B-PERSON", "B-PER I-PER B-PER"),
    "two types become one": ({"GPE": "LOC"}, "B-GPE I-GPE B-LOC I-LOC", "B-LOC I-LOC B-LOC I-LOC"),
    "whole tags": ({"B-X": "O", "I-X": "O"}, "B-X I-X B-Y", "O O B-Y"),
    "another scheme": ({"S-X": "B-X", "E-X": "I-X"}, "S-X B-X I-X E-X", "B-X B-X I-X I-X"),
    "an order that is wrong goes": ({"DATE": "O"}, "O I-DATE O", "O O O"),
}


@pytest.mark.parametrize("name", RENAMED)
def test_the_label_map_renames_types_and_whole_tags(tmp_path: Path, name: str) -> None:
    label_map, tags, expected = RENAMED[name]
    path = write(tmp_path / "a.txt", column(*tags.split()))
    assert tags_of(path, label_map=label_map) == [tuple(expected.split())]


NOT_RENAMED = {
    "half an entity": ({"B-X": "O"}, "B-X I-X", "line 2: tag 'I-X' follows 'B-X' (renamed: I-X after O)"),
    "a type runs into another": ({"GPE": "LOC"}, "B-LOC I-GPE", "line 2: tag 'I-GPE' follows 'B-LOC'"),
    "no tag": ({"B-X": "PER"}, "O", "--label_map B-X=PER: PER is no tag"),
    "no type": ({"DATE": "B-PER"}, "O", "--label_map DATE=B-PER: expected a type"),
    "nothing": ({"DATE": ""}, "O", "--label_map DATE=: expected a name"),
}


@pytest.mark.parametrize("name", NOT_RENAMED)
def test_a_label_map_that_leaves_no_iob2_is_refused(tmp_path: Path, name: str) -> None:
    label_map, tags, expected = NOT_RENAMED[name]
    path = write(tmp_path / "a.txt", column(*tags.split()))
    assert expected in refusal(read_tagged, path, label_map=label_map)
