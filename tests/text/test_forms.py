"""Test that texts are read from every form that users have them in."""

from __future__ import annotations

import gzip
import hashlib
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from text_forms import COMPRESS, FLAG, TEXTS, extracted, jsonl, lines, parquet, table, tabs

from bistil_ds.errors import InputError, Notice
from bistil_ds.text import check_text_file, load_texts
from bistil_ds.text.corpus import corpus_texts, readings
from bistil_ds.text.form import HEAD_BYTES
from bistil_ds.text.options import TextOptions

FILES = {
    "a.txt": lines(TEXTS),
    "bom.txt": b"\xef\xbb\xbf" + lines(TEXTS).replace(b"\n", b"\r\n"),
    "a.jsonl": jsonl(TEXTS),
    "a.ndjson": jsonl(TEXTS),
    "a.json": b"\xef\xbb\xbf\n" + jsonl(TEXTS),
    "wiki_00": jsonl(TEXTS),
    "jsonl.txt": jsonl(TEXTS),
    "a.csv": table(TEXTS),
    "A.CSV": table(TEXTS),
    "SPACES.csv": table(TEXTS).replace(b",text", b", text", 1),
    "semicolons.csv": table(TEXTS, ";"),
    "table.txt": table(TEXTS),
    "tabs.csv": tabs(TEXTS),
    "a.tsv": tabs(TEXTS),
    "table": tabs(TEXTS),
    "AA_00": extracted(TEXTS),
    "a.parquet": parquet(TEXTS),
    "part-00000": parquet(TEXTS),
}


@pytest.mark.parametrize(
    ("name", "ending"),
    [(name, ending) for name in FILES for ending in COMPRESS if not (ending and FILES[name].startswith(b"PAR1"))],
)
def test_every_form_gives_the_same_texts(tmp_path: Path, name: str, ending: str) -> None:
    path = tmp_path / f"{name}{ending}"
    path.write_bytes(COMPRESS[ending](FILES[name]))
    check_text_file(path, FLAG)
    assert load_texts(path, name=FLAG)["text"][:] == TEXTS
    assert load_texts(path, name=FLAG, max_texts=2)["text"][:] == TEXTS[:2]


def test_the_same_bytes_may_be_read_in_several_ways(tmp_path: Path) -> None:
    content = b'text\n"Yes, sir"\n'
    found = {"a.csv": ["Yes, sir"], "a.tsv": ['"Yes, sir"'], "a.txt": ["text", '"Yes, sir"']}
    for name, texts in found.items():
        (tmp_path / name).write_bytes(content)
        assert load_texts(tmp_path / name)["text"][:] == texts
    ways = [readings(tmp_path / name, FLAG, "text") for name in found]
    ways += [readings(tmp_path / "a.csv", FLAG, "head"), readings(f"plain:{tmp_path}/a.csv", FLAG, "text")]
    assert [[one["form"], one["column"]] for way in ways for one in way or ()] == [
        ["table", "text"],
        ["tsv", "text"],
        ["plain", ""],
        ["table", "head"],
        ["plain", ""],
    ]


def test_how_the_files_of_a_folder_are_read_is_told_in_their_order(tmp_path: Path) -> None:
    for name, content in {"a": lines(TEXTS), "b": lines(TEXTS[:2]), "c": jsonl(TEXTS), "d": lines(TEXTS)}.items():
        (tmp_path / name).write_bytes(COMPRESS[".gz" if name == "d" else ""](content))
    assert readings(tmp_path, FLAG, "text") == [
        {"files": 2, "form": "plain", "compression": "", "column": ""},
        {"files": 1, "form": "jsonl", "compression": "", "column": "text"},
        {"files": 1, "form": "plain", "compression": "gz", "column": ""},
    ]
    assert readings("org/name", FLAG, "text") is None


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
    kinds = [pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
    if int(pa.__version__.partition(".")[0]) >= 21:  # older ones write no views
        kinds.append(pa.string_view())
    for kind in kinds:
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


def test_cells_go_over_lines_and_are_longer_than_the_csv_library_takes(tmp_path: Path) -> None:
    texts = ["The river\nflows.\n", "long " * 50_000, 'He said "hi".']
    (tmp_path / "a.csv").write_bytes(table(texts))
    assert load_texts(tmp_path / "a.csv")["text"][:] == texts


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


def test_a_first_line_that_is_longer_than_what_is_examined_decides_the_form(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n" + '{"text": "' + "a " * HEAD_BYTES + '"}\n', encoding="utf-8")
    (text,) = corpus_texts(tmp_path / "a.txt", TextOptions("--text"))
    assert text.startswith("a a ")
