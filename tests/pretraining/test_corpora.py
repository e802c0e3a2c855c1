"""Test which files are texts to pretrain on, and that each becomes a text a line."""

from __future__ import annotations

import gzip
import json
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bistil_ds.commands.pretrain import main
from bistil_ds.errors import InputError, Notice
from bistil_ds.pretraining.corpora import as_lines, find_corpora

TEXTS = ["The river flows.", "", "A town\nlies on its bank.", "It is old."]
LINES = "The river flows.\n\nA town lies on its bank.\nIt is old.\n"


def write(folder: Path) -> None:
    (folder / "aa.txt").write_text(LINES)
    (folder / "bb.txt.gz").write_bytes(gzip.compress(LINES.encode()))
    (folder / "README.md").write_text("About these texts.\n")
    (folder / ".hidden.txt").write_text("x\n")


def write_columns(folder: Path) -> None:
    (folder / "cc.JSONL").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    pq.write_table(pa.table({"text": TEXTS}), folder / "dd.parquet")


def test_every_form_becomes_a_text_a_line(tmp_path: Path) -> None:
    for name, fill in (("lines", write), ("columns", write_columns)):
        (tmp_path / name).mkdir()
        fill(tmp_path / name)
    corpora = find_corpora(tmp_path / "lines") | find_corpora(tmp_path / "columns")
    assert sorted(corpora) == ["aa", "bb", "cc", "dd"]
    files = as_lines(corpora, tmp_path)
    assert files["aa"] == corpora["aa"]  # which is read as it is
    assert {files[language].read_text() for language in ("bb", "cc", "dd")} == {LINES.replace("\n\n", "\n")}
    parallel = as_lines(corpora, tmp_path, keep_blank=True)
    assert {path.read_text() for path in parallel.values()} == {LINES}
    first = as_lines(corpora, tmp_path, max_texts=2)
    assert {path.read_text() for path in first.values()} == {"The river flows.\nA town lies on its bank.\n"}


def test_beside_lines_of_text_other_files_are_left_out_with_a_notice(tmp_path: Path) -> None:
    write(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sorted(find_corpora(tmp_path)) == ["aa", "bb"]
    write_columns(tmp_path)
    (tmp_path / "sizes.json").write_text("{}\n")
    (tmp_path / "aa.csv").write_text("text\nx\n")
    with pytest.warns(Notice, match=r"leaving out aa\.csv, cc\.JSONL, dd\.parquet, sizes\.json; where there are \.txt"):
        assert sorted(find_corpora(tmp_path)) == ["aa", "bb"]


def test_two_files_of_one_language_and_files_that_are_no_text_are_asked_about(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "ee.txt").write_text("1\tThe river.\n2\tA town.\n")
    with pytest.raises(InputError, match=r"--input_folder: .*ee\.txt has 2 columns, parted by tabs"):
        as_lines(find_corpora(tmp_path), tmp_path)
    (tmp_path / "aa.txt.gz").write_bytes(gzip.compress(LINES.encode()))
    with pytest.raises(InputError, match=r"aa\.txt and aa\.txt\.gz are both of aa; keep one"):
        find_corpora(tmp_path)


def test_the_command_refuses_what_it_cannot_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "aa.jsonl").write_text('{"body": "x"}\n')
    flags = ["--output_dir", str(tmp_path / "run")]
    assert main(["--input_folder", str(tmp_path / "in"), *flags]) == 2
    assert "aa.jsonl, line 1 has no column 'text' (it has body); call the column" in capsys.readouterr().err
    assert main(["--max_texts", "0", *flags]) == 2
    assert "--max_texts 0: expected at least 1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
