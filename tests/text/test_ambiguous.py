"""Test that nothing is read wrongly in silence: what is ambiguous, or no text, is asked for in one line."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from datasets import Dataset
from text_forms import FLAG, TEXTS, lines, parquet

from bistil_ds.errors import InputError
from bistil_ds.text import check_different, check_text_file, load_texts

ASKED: dict[str, tuple[bytes, str]] = {
    "leipzig.txt": (b"1\tThe river flows.\n2\tA town lies on its bank.\n", "has 2 columns, parted by tabs"),
    "pairs.txt": (b"The river.\tNehir.\nA town.\tBir kasaba.\n", "has 2 columns, parted by tabs"),
    "trees.conllu": (b"# text = It\n1\tIt\t_\tPRON\n2\tis\t_\tVERB\n", "has 4 columns, parted by tabs"),
    "vertical": (b'<doc id="1">\n<s>\nIt\tPRON\nis\tAUX\n</s>\n</doc>\n', "has 2 columns, parted by tabs"),
    "strings": (b'"The river."\n"A \\"town\\"."\n', "has all lines in quotes"),
    "leipzig.tsv": (b"1\tThe river flows.\n2\tA town.\n", r"no.*'text' \(it has 1, The river flows\.\)"),
    "other.csv": (b"id,body\n1,The river flows.\n", r"none 'text' \(it has id, body\); name it with --text_column"),
    "carriage.csv": (b"id,text\rmore\r\n1,The river\r\n", "names the columns, but none 'text'"),
    "OTHER.CSV": (b"id,body\n1,The river flows.\n", r"none 'text' \(it has id, body\)"),
    "labelled.txt": (
        b"content,label\r\nThe river flows.,1\r\n",
        r"looks like a table, .* \(content, label\) is 'text'; name",
    ),
    "semicolons.txt": (b'id;body\n1;"The river; it flows."\n2;A\n', r"looks like a table, .* \(id, body\)"),
    "emptied.txt": (b"\tThe river.\n1\tA town.\n", "has 2 columns, parted by tabs"),
    "all_strings": (b'"The river."\n' * 20, "has all lines in quotes"),
    "doubled": (b'"The river."\n"A ""town""."\n', "has all lines in quotes"),
    "doubled first": (b'"""A"" town."\n"It is old."\n', "has all lines in quotes"),
    "list.txt": (b'[{}, {"text": "a"}]\n', "line 1 is not an object"),
    "headless.csv": (b"The river flows.\nA town.\n", r"none 'text' \(it has The river flows\.\)"),
    "twice.csv": (b"text,text\na,b\n", "names the column 'text' twice"),
    "ragged.csv": (b"id,text\n1,The river flows, slowly.\n", "line 2 has 3 columns; the header 2"),
    "open.csv": (b'id,text\n1,"The river\n2,A town\n', "line 2 is not CSV"),
    "quotes.csv": (b'id,text\n1,"The" river\n', "line 2 is not CSV"),
    "long.csv": (b"a " * 100_000 + b"\n", r"names the columns, but none 'text' \(it has (a ){20}\)"),
    "a.b.tsv": (b'text\n"The ""river"""\n', "line 2 is quoted as CSV"),
    "ragged.tsv": (b"id\ttext\n1\tThe river\tflows.\n", "line 2 has 3 columns; the header 2"),
    "quoted.tsv": (b'"id"\t"text"\n"1"\t"The river"\n', "line 1 has quoted columns"),
    "escaped.tsv": (b'id\ttext\n1\t"The ""river"""\n', "line 2 is quoted as CSV"),
    "array.json": (b'[{"text": "a"},\n {"text": "b"}]\n', "line 1 is not JSON; expected one object a line"),
    "array": (b'[{"text": "The river"}]', r"line 1 is not an object; .* jq -c '\.\[\]'"),
    "pretty": (b'{\n "text": "a"\n}\n', "line 1 is not JSON"),
    "squad.json": (b'{"version": 1, "data": []}\n', r"line 1 has no column 'text' \(it has version, data\)"),
    "strings.jsonl": (b'{"title": "A town", "body": "It is old."}\n', "line 1 has no column 'text'"),
    "ids.jsonl": (b'{"url": "https://x/", "tokens": ["a"]}\n', "line 1 has no column 'text'"),
    "later.jsonl": (b'{"body": "The river flows."}\n{"body": "A", "text": "A town."}\n', "line 2 has other columns"),
    "dump.xml": (b"<mediawiki xml:lang='en'>\n<page>\n", "is XML or HTML; extract its text"),
    "page": (b"\n<!DOCTYPE html>\n<p>The river.\n", "is XML or HTML"),
    "cr.txt": (b"The river flows.\rA town.\r", "ends its lines with CR alone"),
    "utf16.txt": ("The river\n".encode("utf-16"), "is UTF-16; convert it: iconv"),
    "utf32.txt": ("The river\n".encode("utf-32"), "is UTF-32"),
    "nul.txt": (b"The river\0\n", "line 1 has a NUL"),
    "zip.txt": (b"PK\x03\x04" + bytes(40), "is a zip archive; unpack it"),
    "tar.gz": (gzip.compress(b"a.txt" + bytes(252) + b"ustar" + bytes(300)), "is a tar archive; unpack it"),
    "no.parquet": (lines(TEXTS), "is no Parquet file"),
    "cut.parquet": (parquet(TEXTS)[:-20], "cannot be read as Parquet"),
    "packed.parquet.gz": (gzip.compress(parquet(TEXTS)), "is compressed Parquet"),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_is_ambiguous_or_no_text_is_asked_for_in_one_line(tmp_path: Path, cache: Path, name: str) -> None:
    content, expected = ASKED[name]
    (tmp_path / name).write_bytes(content)
    for refused in (lambda: check_text_file(tmp_path / name, FLAG), lambda: load_texts(tmp_path / name, name=FLAG)):
        with pytest.raises(InputError, match=expected) as caught:
            refused()
        assert str(caught.value).startswith(f"{FLAG}: {tmp_path / name}")
        assert "\n" not in str(caught.value)
    assert not list(cache.glob("*.arrow*"))


PLAIN = [
    *("{{Infobox river}} is a template.", "[1] The river flows.", "[[File:river.jpg]]", "{\\bf river}", "[applause]"),
    *(
        '"The river", she said.',
        "text",
        "text, image, audio",
        "In the text, it flows.",
        "BZh is no word.",
        "<doc> a </doc>",
    ),
    *('{"Hi", he said.', '[{"Hi", he said.', "[{{Infobox}} is a template.]", "{} is the empty set.", "a\rb"),
    *("Yes,sir", "Yes, sir", "3,14", "haus,house,casa"),
    *("1\tone line with a tab", "PAR 1", "a;b;c", "# text = The river"),
]


@pytest.mark.parametrize("first", PLAIN)
def test_text_that_resembles_another_form_stays_text(tmp_path: Path, first: str) -> None:
    texts = [first, "A town lies on its bank."]
    (tmp_path / "a.txt").write_bytes(lines(texts))
    assert load_texts(tmp_path / "a.txt")["text"][:] == texts


PROSE = {
    "indented": ["\tIt was a dark night.", "\tThe river rose."],
    "one comma a line": ["Yes, sir", "The river rose, and fell.", "It is old, too."],
    "commas under a sentence": ["The river,the town", "It rose, and fell.", "It is old, too."],
    "a dialogue": ['"Who is there?"', '"The river."'],
    "numbers": ["3,14", "2,71"],
}


@pytest.mark.parametrize("texts", PROSE.values(), ids=PROSE)
def test_prose_whose_lines_are_alike_stays_text(tmp_path: Path, texts: list[str]) -> None:
    (tmp_path / "a.txt").write_bytes(lines(texts))
    assert [text.strip() for text in load_texts(tmp_path / "a.txt")["text"]] == [text.strip() for text in texts]


LISTS = {
    "words": b"ev,evler\ngit,gitti\n",
    "pairs": b"ev\tevler\ngit\tgitti\n",
    "strings": b'"ev \\"a\\""\n"git"\n',
    "words.csv": b"ev,evler\ngit\n",
    "words.jsonl": b'{"ev"\n',
}


@pytest.mark.parametrize("name", LISTS)
def test_with_plain_before_it_each_line_of_a_file_is_a_text(tmp_path: Path, cache: Path, name: str) -> None:
    path = tmp_path / "texts" / name
    path.parent.mkdir()
    path.write_bytes(LISTS[name])
    asks = not name.endswith((".csv", ".jsonl"))
    with pytest.raises(InputError, match="; if each line is a text, give plain:FILE" if asks else name):
        check_text_file(path, FLAG)
    for spec in (f"plain:{path}", f"plain:{path.parent}"):
        check_text_file(spec, FLAG)
        assert load_texts(spec, name=FLAG)["text"] == LISTS[name].decode().splitlines()
    with pytest.raises(InputError, match="are the same text"):
        check_different({"--text en": f"plain:{path}", "--text tr": path})


def test_plain_makes_no_text_of_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + bytes(40))
    with pytest.raises(InputError, match="is a zip archive"):
        check_text_file(f"plain:{tmp_path / 'a.zip'}", FLAG)
    with pytest.raises(InputError, match=f"there is no file {tmp_path / 'b.txt'}"):
        check_text_file(f"plain:{tmp_path / 'b.txt'}", FLAG)


def test_plain_before_a_data_set_is_refused(tmp_path: Path) -> None:
    Dataset.from_dict({"text": ["The river flows."]}).save_to_disk(tmp_path / "saved")
    for name in (f"{tmp_path / 'saved'}", "hf:name", "hf:org/name:tr"):
        with pytest.raises(InputError, match=f"{FLAG}: plain:{name} is a data set, .*; give it as {name}$"):
            check_text_file(f"plain:{name}", FLAG)
    for name in ("org/name", "org/name:tr:train[:100]"):
        with pytest.raises(InputError, match=re.escape(f"{FLAG}: plain:{name}: there is no file {name}, and before")):
            check_text_file(f"plain:{name}", FLAG)
    (tmp_path / "hf:a.txt").write_text("The river flows.\n")
    assert load_texts(f"plain:{tmp_path}/hf:a.txt")["text"] == ["The river flows."]


def test_a_file_may_be_called_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain:a.txt").write_text("The river flows.\n")
    assert load_texts("plain:a.txt")["text"] == ["The river flows."]
