"""Test that tags of any scheme become IOB2, and that labels are renamed by entity type or whole tag."""

from __future__ import annotations

from pathlib import Path

import pytest
from reading import read_all, refusal, write

from bistil_ds.errors import Notice
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


SCHEMES = {
    "IOB1": ("I-PER I-PER O I-LOC B-LOC I-PER", "B-PER I-PER O B-LOC B-LOC B-PER"),
    "BIOES": ("B-PER I-PER E-PER S-LOC S-LOC B-LOC E-LOC", "B-PER I-PER I-PER B-LOC B-LOC B-LOC I-LOC"),
    "BILOU": ("B-PER L-PER U-PER O B-PER I-PER L-PER", "B-PER I-PER B-PER O B-PER I-PER I-PER"),
    "BMES": ("B-PER M-PER E-PER S-PER", "B-PER I-PER I-PER B-PER"),
    "BMEWO": ("W-PER O B-PER M-PER E-PER", "B-PER O B-PER I-PER I-PER"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", SCHEMES)
def test_tags_of_every_scheme_become_iob2(tmp_path: Path, name: str) -> None:
    tags, expected = SCHEMES[name]
    assert tags_of(write(tmp_path / "a.txt", column(*tags.split()))) == [tuple(expected.split())]


MENDED = {
    "after O": ("B-PER O I-PER", "B-PER O B-PER", 3),
    "after another type": ("B-LOC I-PER", "B-LOC B-PER", 2),
    "after the end of an entity": ("B-LOC E-LOC I-LOC", "B-LOC I-LOC B-LOC", 3),
}


@pytest.mark.parametrize("name", MENDED)
def test_a_tag_that_begins_an_entity_without_b_is_read_as_b_and_told(tmp_path: Path, name: str) -> None:
    tags, expected, line = MENDED[name]
    path = write(tmp_path / "a.txt", column(*tags.split()))
    with pytest.warns(Notice, match=rf"a.txt, line {line}: this tag continues no entity .* like this: 1\)"):
        assert tags_of(path) == [tuple(expected.split())]


NO_TAGS = {
    "no scheme": ("PER", "line 1: tag 'PER'; expected O, B-TYPE or I-TYPE (IOB2, IOB1, BIOES or BILOU)"),
    "no type": ("B-", "line 1: tag 'B-'"),
    "small o": ("o", "line 1: tag 'o'"),
    "small letters": ("O b-per", "line 2: tag 'b-per'"),
    "other sign": ("O B_PER", "line 2: tag 'B_PER'"),
}


@pytest.mark.parametrize("name", NO_TAGS)
def test_tags_of_no_scheme_are_refused(tmp_path: Path, name: str) -> None:
    tags, expected = NO_TAGS[name]
    assert expected in refusal(read_tagged, write(tmp_path / "a.txt", column(*tags.split())))


LINES = {
    "one column": ("x\n", "line 1: 'x' is one column; expected a token, a tab or space, and its tag"),
    "two tokens in a line": ("a O\nb O c O\n", "line 2: 4 columns parted by spaces ('b O c O'); line 1 has 2"),
    "no token": ("a O\n O\n", "line 2: an empty column"),
    "tab among spaces": ("a O\nb\tc O\n", "line 2: an empty column, or tabs and spaces mixed"),
    "old Mac lines": ("a O\rb O\rc O\r\n", "line 1 has a carriage return inside"),
    "lines of U+2028": ("a O\u2028b B-X\u2028\u2028c O\n", "line 1 holds several rows"),
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
    "letters without a type": ({"B": "B-ENT", "I": "I-ENT"}, "B I O B", "B-ENT I-ENT O B-ENT"),
    "types without a letter": ({"PER": "I-PER", "LOC": "I-LOC"}, "PER PER O LOC PER", "B-PER I-PER O B-LOC B-PER"),
    "one type, run into by another": ({"GPE": "LOC"}, "B-LOC B-GPE I-GPE", "B-LOC B-LOC I-LOC"),
    "small letters": ({"b-per": "B-PER", "o": "O"}, "b-per o", "B-PER O"),
    "to what a model calls them": ({"O": "L0", "B-X": "L1", "I-X": "L2"}, "B-X I-X O", "B-X I-X O"),
    "to one name for both tags of a type": ({"B-X": "X", "I-X": "X"}, "B-X I-X B-X", "B-X I-X B-X"),
    "from numbers, through tags": ({"0": "O", "1": "B-X", "B-X": "L1"}, "1 0", "B-X O"),
    "of another scheme, to a model's": ({"B-X": "L1"}, "I-X O", "B-X O"),
}


@pytest.mark.parametrize("name", RENAMED)
def test_the_label_map_renames_types_and_whole_tags(tmp_path: Path, name: str) -> None:
    label_map, tags, expected = RENAMED[name]
    path = write(tmp_path / "a.txt", column(*tags.split()))
    assert tags_of(path, label_map=label_map) == [tuple(expected.split())]


NOT_RENAMED = {
    "half an entity": ({"B-X": "O"}, "B-X I-X", "line 2: tag 'I-X' is renamed to 'I-X' after 'O'; rename both"),
    "one name for two": ({"B-X": "X", "B-Y": "X"}, "O", "--label_map B-Y=X: B-X is called X, too"),
    "no tag": ({"B": "PER"}, "B", "--label_map B=PER: PER is no tag"),
    "no type": ({"DATE": "B-PER"}, "B-DATE", "--label_map DATE=B-PER: expected a type"),
    "nothing": ({"DATE": ""}, "O", "--label_map DATE=: expected a name"),
}


@pytest.mark.parametrize("name", NOT_RENAMED)
def test_a_label_map_that_leaves_no_iob2_is_refused(tmp_path: Path, name: str) -> None:
    label_map, tags, expected = NOT_RENAMED[name]
    path = write(tmp_path / "a.txt", column(*tags.split()))
    assert expected in refusal(read_tagged, path, label_map=label_map)


def test_a_type_may_be_called_o(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "Ada\tB-O\nL.\tI-O\nwon\tO\n")
    assert read_all(read_tagged, path)[0].tags == ("B-O", "I-O", "O")
    assert read_all(read_tagged, path, label_map={"O": "O"})[0].tags == ("O", "O", "O")
