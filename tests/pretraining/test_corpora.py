"""Test which files are texts to pretrain on, and that each becomes a text a line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bistil_ds.commands.pretrain import main
from bistil_ds.errors import InputError
from bistil_ds.pretraining.corpora import as_lines, find_corpora

TEXTS = ["The river flows.", "", "A town\nlies on its bank.", "It is old."]
LINES = "The river flows.\n\nA town lies on its bank.\nIt is old.\n"


def write(folder: Path) -> None:
    (folder / "aa.txt").write_text(LINES)
    (folder / "bb.txt.gz").write_bytes(gzip.compress(LINES.encode()))
    (folder / "cc.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    pq.write_table(pa.table({"text": TEXTS}), folder / "dd.parquet")
    (folder / "README.md").write_text("About these texts.\n")
    (folder / ".hidden.txt").write_text("x\n")


def test_every_form_becomes_a_text_a_line(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in")
    corpora = find_corpora(tmp_path / "in")
    assert sorted(corpora) == ["aa", "bb", "cc", "dd"]
    files = as_lines(corpora, tmp_path)
    assert files["aa"] == corpora["aa"]  # which is read as it is
    assert {files[language].read_text() for language in ("bb", "cc", "dd")} == {LINES.replace("\n\n", "\n")}
    parallel = as_lines(corpora, tmp_path, keep_blank=True)
    assert {path.read_text() for path in parallel.values()} == {LINES}
    first = as_lines(corpora, tmp_path, max_texts=2)
    assert {path.read_text() for path in first.values()} == {"The river flows.\nA town lies on its bank.\n"}


def test_two_files_of_one_language_and_files_that_are_no_text_are_asked_about(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "ee.txt").write_text("1\tThe river.\n2\tA town.\n")
    with pytest.raises(InputError, match=r"--input_folder: .*ee\.txt has 2 columns, parted by tabs"):
        as_lines(find_corpora(tmp_path), tmp_path)
    (tmp_path / "aa.csv").write_text("text\nx\n")
    with pytest.raises(InputError, match=r"aa\.csv and aa\.txt are both of aa; keep one"):
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
