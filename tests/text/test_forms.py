"""Test that texts are read from every form that users have them in, and that nothing is read wrongly in silence."""

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import io
import json
import lzma
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from bistil_ds.errors import InputError, Notice
from bistil_ds.text import check_text_file, check_two_languages, load_texts
from bistil_ds.text import text_files as reading
from bistil_ds.text.corpus import corpus_hash

TEXTS = [
    "The river flows, slowly, to the sea.",
    'A "town" lies on its bank; it is old.',
    "Kıyısında güçlü bir şehir var.",
]
FLAG = "--source_file"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BISTIL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "corpora"


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}


def lines(texts: list[str]) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def jsonl(texts: list[str]) -> bytes:
    return lines([json.dumps({"id": str(n), "url": "https://x/", "text": text}) for n, text in enumerate(texts)])


def table(texts: list[str], delimiter: str = ",") -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerows([["id", "url", "text"], *([n, "https://x/", text] for n, text in enumerate(texts))])
    return file.getvalue().encode()


def tabs(texts: list[str]) -> bytes:
    return lines(["id\ttext", *(f"{n}\t{text}" for n, text in enumerate(texts))])


def extracted(texts: list[str]) -> bytes:
    return lines(
        [
            f'<doc id="1" url="https://x/" title="T">\n{texts[0]}\n\n</doc>\n<doc id="2" url="" title="U">',
            *texts[1:],
            "</doc>",
        ]
    )


def parquet(texts: list[str]) -> bytes:
    file = io.BytesIO()
    pq.write_table(
        pa.table({"id": [str(n) for n in range(len(texts) + 1)], "text": [None, *texts]}), file, row_group_size=2
    )
    return file.getvalue()


FILES = {
    "a.txt": lines(TEXTS),
    "bom.txt": b"\xef\xbb\xbf" + lines(TEXTS).replace(b"\n", b"\r\n"),
    "a.jsonl": jsonl(TEXTS),
    "a.ndjson": jsonl(TEXTS),
    "a.json": b"\xef\xbb\xbf\n" + jsonl(TEXTS),
    "wiki_00": jsonl(TEXTS),
    "jsonl.txt": jsonl(TEXTS),
    "a.csv": table(TEXTS),
    "semicolons.csv": table(TEXTS, ";"),
    "table.txt": table(TEXTS),
    "tabs.csv": tabs(TEXTS),
    "a.tsv": tabs(TEXTS),
    "table": tabs(TEXTS),
    "AA_00": extracted(TEXTS),
    "a.parquet": parquet(TEXTS),
    "part-00000": parquet(TEXTS),
}


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("name", FILES)
def test_every_form_gives_the_same_texts(tmp_path: Path, name: str, ending: str) -> None:
    if ending and FILES[name].startswith(b"PAR1"):
        pytest.skip("Parquet compresses itself")
    path = tmp_path / f"{name}{ending}"
    path.write_bytes(COMPRESS[ending](FILES[name]))
    check_text_file(path, FLAG)
    assert load_texts(path, name=FLAG)["text"][:] == TEXTS
    assert load_texts(path, name=FLAG, max_texts=2)["text"][:] == TEXTS[:2]


@pytest.mark.parametrize("ending", [each for each in COMPRESS if each])
def test_compressed_files_may_have_any_name_and_several_parts_but_no_part_may_be_missing(
    tmp_path: Path, ending: str
) -> None:
    first, second = (COMPRESS[ending](lines([text] * 300)) for text in TEXTS[:2])
    (tmp_path / "any.txt").write_bytes(first + second)
    assert load_texts(tmp_path / "any.txt")["text"][:] == [TEXTS[0]] * 300 + [TEXTS[1]] * 300
    for broken in (first[:-9], first + second[:-9], first[:40] + b"\0" * 9 + first[49:]):
        (tmp_path / f"cut{ending}").write_bytes(broken)
        for refused in (
            lambda: check_text_file(tmp_path / f"cut{ending}", FLAG),
            lambda: load_texts(tmp_path / f"cut{ending}"),
        ):
            with pytest.raises(InputError, match="is not a whole"):
                refused()


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
        check_two_languages(folder, str(folder) + "/.")


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


# What is ambiguous is asked for

ASKED: dict[str, tuple[bytes, str]] = {
    "leipzig.txt": (b"1\tThe river flows.\n2\tA town lies on its bank.\n", "has 2 columns, parted by tabs"),
    "pairs.txt": (b"The river.\tNehir.\nA town.\tBir kasaba.\n", "has 2 columns, parted by tabs"),
    "trees.conllu": (b"# text = It\n1\tIt\t_\tPRON\n2\tis\t_\tVERB\n", "has 4 columns, parted by tabs"),
    "vertical": (b'<doc id="1">\n<s>\nIt\tPRON\nis\tAUX\n</s>\n</doc>\n', "has 2 columns, parted by tabs"),
    "strings": (b'"The river."\n"A \\"town\\"."\n', "has all lines in quotes"),
    "leipzig.tsv": (b"1\tThe river flows.\n2\tA town.\n", r"no.*'text' \(it has 1, The river flows\.\)"),
    "other.csv": (b"id,body\n1,The river flows.\n", r"none 'text' \(it has id, body\); name it with --text_column"),
    "headless.csv": (b"The river flows.\nA town.\n", r"none 'text' \(it has The river flows\.\)"),
    "twice.csv": (b"text,text\na,b\n", "names the column 'text' twice"),
    "ragged.csv": (b"id,text\n1,The river flows, slowly.\n", "line 2 has 3 columns; the header 2"),
    "open.csv": (b'id,text\n1,"The river\n2,A town\n', "line 3 is not CSV"),
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
    *("1\tone line with a tab", "PAR 1", "a;b;c", "# text = The river"),
]


@pytest.mark.parametrize("first", PLAIN)
def test_text_that_resembles_another_form_stays_text(tmp_path: Path, first: str) -> None:
    texts = [first, "A town lies on its bank."]
    (tmp_path / "a.txt").write_bytes(lines(texts))
    assert load_texts(tmp_path / "a.txt")["text"][:] == texts


@pytest.mark.parametrize("name", ["body.jsonl", "body.parquet", "saved"])
def test_the_only_column_of_strings_is_read_and_named(tmp_path: Path, name: str) -> None:
    rows = Dataset.from_dict({"id": [0, 1, 2], "body": TEXTS})
    if name == "saved":
        rows.save_to_disk(tmp_path / name)
    else:
        (rows.to_parquet if name.endswith("parquet") else rows.to_json)(tmp_path / name)
    with pytest.warns(Notice, match="reading 'body', the only column of strings"):
        assert load_texts(tmp_path / name)["text"][:] == TEXTS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_texts(tmp_path / name, text_column="body")["text"][:] == TEXTS
    with pytest.raises(InputError, match=r"no column 'bodies' \(it has id, body\)"):
        load_texts(tmp_path / name, text_column="bodies")
    with pytest.raises(InputError, match=r"column 'id' (holds int64|is int), not"):
        load_texts(tmp_path / name, text_column="id")


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet", "saved"])
def test_another_column_has_another_key(tmp_path: Path, name: str) -> None:
    rows = Dataset.from_dict({"text": TEXTS, "body": TEXTS[::-1]})
    write = {".jsonl": rows.to_json, ".csv": rows.to_csv, ".parquet": rows.to_parquet}
    write.get(Path(name).suffix, rows.save_to_disk)(tmp_path / name)
    first, second = (load_texts(tmp_path / name, text_column=column) for column in ("text", "body"))
    assert first["text"][:] == second["text"][::-1] == TEXTS
    assert first._fingerprint != second._fingerprint


def test_parquet_holds_texts_of_many_types_and_names_a_row_that_is_none(tmp_path: Path) -> None:
    for kind in (pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.string_view()):
        pq.write_table(pa.table({"text": pa.array(TEXTS).cast(kind)}), tmp_path / "a.parquet")
        assert load_texts(tmp_path / "a.parquet")["text"][:] == TEXTS
    for values, expected in (([b"x"], "holds binary"), ([["x"]], "holds list"), ([{"en": "x"}], "holds struct")):
        pq.write_table(pa.table({"text": values}), tmp_path / "a.parquet")
        with pytest.raises(InputError, match=f"column 'text' {expected}"):
            load_texts(tmp_path / "a.parquet")
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())
    pq.write_table(pa.table({"text": broken}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="row 1 is not UTF-8"):
        load_texts(tmp_path / "a.parquet")
    pq.write_table(pa.table({"body": broken}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="row 1 is not UTF-8"):
        load_texts(tmp_path / "a.parquet")


def test_a_small_parquet_file_of_endless_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bistil_ds.runs.bounded.SMALL", 10_000)
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), ["a text " * 1000])
    pq.write_table(pa.table({"text": repeated}), tmp_path / "a.parquet")
    for refused in (lambda: check_text_file(tmp_path / "a.parquet", FLAG), lambda: load_texts(tmp_path / "a.parquet")):
        with pytest.raises(InputError, match=r"row \d+: the texts so far are far larger than the file"):
            refused()


def test_cells_go_over_lines_and_are_longer_than_the_csv_library_takes(tmp_path: Path) -> None:
    texts = ["The river\nflows.\n", "long " * 50_000, 'He said "hi".']
    (tmp_path / "a.csv").write_bytes(table(texts))
    assert load_texts(tmp_path / "a.csv")["text"][:] == texts


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.txt.gz", "a.txt.zst"])
def test_a_line_without_end_is_refused_and_not_held_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(reading, "LONGEST_LINE", 1000)
    monkeypatch.setattr(reading, "BLOCK_BYTES", 300)
    content = b"text\n" + b"x" * 999 + b"\n" + b"y" * 1001 + b"\n"
    (tmp_path / name).write_bytes(COMPRESS[Path(name).suffix if name.count(".") > 1 else ""](content))
    for refused in (lambda: check_text_file(tmp_path / name, FLAG), lambda: load_texts(tmp_path / name, name=FLAG)):
        with pytest.raises(InputError, match="line 1 is not JSON" if "json" in name else "line 3 is longer than"):
            refused()


def test_caches_of_plain_and_jsonl_files_keep_the_keys_of_version_0_1(tmp_path: Path) -> None:
    for name, content, packed, column, is_jsonl in [
        ("a.txt", lines(TEXTS), "", "", False),
        ("a.txt.gz", gzip.compress(lines(TEXTS)), "gz", "", False),
        ("a.jsonl", jsonl(TEXTS), "", "text", True),
    ]:
        (tmp_path / name).write_bytes(content)
        parts = ["texts-1", hashlib.sha256(content).hexdigest(), packed, column, str(is_jsonl)]
        key = "texts-" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
        assert load_texts(tmp_path / name)._fingerprint == key
    (tmp_path / "read as lines in 0.1").write_bytes(jsonl(TEXTS))
    parts = ["texts-1", hashlib.sha256(jsonl(TEXTS)).hexdigest(), "", "", "False"]
    old = "texts-" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    assert load_texts(tmp_path / "read as lines in 0.1")._fingerprint != old


@pytest.mark.parametrize("ending", [each for each in COMPRESS if each])
def test_a_small_file_of_endless_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr("bistil_ds.runs.bounded.SMALL", 10_000)
    monkeypatch.setattr("bistil_ds.text.form.HEAD_BYTES", 1000)
    path = tmp_path / f"a.txt{ending}"
    path.write_bytes(COMPRESS[ending](b"a line\n" * 200_000))
    for refused in (lambda: check_text_file(path, FLAG), lambda: load_texts(path, name=FLAG)):
        with pytest.raises(InputError, match=f"{FLAG}: .* unpacks to over"):
            refused()
