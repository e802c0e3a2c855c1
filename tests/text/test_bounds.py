"""Test that a hostile file fills neither memory nor disk."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from text_forms import COMPRESS, FLAG

from bistil_ds.errors import InputError
from bistil_ds.text import check_text_file, load_texts
from bistil_ds.text import text_files as reading


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


def test_a_small_parquet_file_of_endless_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bistil_ds.runs.bounded.SMALL", 10_000)
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), ["a text " * 1000])
    pq.write_table(pa.table({"text": repeated}), tmp_path / "a.parquet")
    for refused in (lambda: check_text_file(tmp_path / "a.parquet", FLAG), lambda: load_texts(tmp_path / "a.parquet")):
        with pytest.raises(InputError, match=r"row \d+: the texts so far are far larger than the file"):
            refused()


@pytest.mark.parametrize("ending", [each for each in COMPRESS if each])
def test_a_small_file_of_endless_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr("bistil_ds.runs.bounded.SMALL", 10_000)
    monkeypatch.setattr("bistil_ds.text.form.HEAD_BYTES", 1000)
    path = tmp_path / f"a.txt{ending}"
    path.write_bytes(COMPRESS[ending](b"a line\n" * 200_000))
    for refused in (lambda: check_text_file(path, FLAG), lambda: load_texts(path, name=FLAG)):
        with pytest.raises(InputError, match=f"{FLAG}: .* unpacks to over"):
            refused()
