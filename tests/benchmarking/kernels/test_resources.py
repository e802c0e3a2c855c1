"""Test the tables of the kernels' resources; the tests of the kernels cover the compilation itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bistil_ds.benchmarking.kernels.resources import resources_grids, write_table


def row(target: str, registers: int, spills: int = 0, shared: int = 1024) -> dict[str, Any]:
    found = {"operation": "logits", "kernel": "k", "target": target, "registers": registers, "spills": spills}
    return {**found, "stack_bytes": 8 * spills, "shared_bytes": shared}


def test_the_summary_has_the_most_of_each_target_and_counts_what_spills() -> None:
    rows = [row("sm_80", 90), row("sm_80", 255, spills=2), row("sm_90", 100, shared=81_920)]
    (grid,) = resources_grids({"rows": rows, "triton": "3.7.1"})
    assert grid.rows == [
        ["logits, sm_80", "2", "1", "255", "16", "1.0"],
        ["logits, sm_90", "1", "0", "100", "0", "80.0"],
    ]
    assert "3.7.1" in grid.note


def test_what_only_amds_gpus_have_is_empty_in_rows_of_nvidias(tmp_path: Path) -> None:
    rows = [row("sm_80", 90), {**row("gfx942", 300), "accumulators": 44}]
    (grid,) = resources_grids({"rows": rows, "triton": "3.7.1"})
    assert grid.rows[1] == ["logits, gfx942", "1", "0", "300", "0", "1.0"]
    (path,) = write_table(tmp_path / "kernel_resources.json", {"rows": rows, "triton": "3.7.1"})
    lines = path.read_text().splitlines()
    assert "| logits | k | sm_80 | 90 | 0 | 0 | 1024 |  |" in lines
    assert "| logits | k | gfx942 | 300 | 0 | 0 | 1024 | 44 |" in lines


def test_the_whole_table_lies_beside_the_record(tmp_path: Path) -> None:
    record = tmp_path / "kernel_resources-meta-x86_64-20260101-000000.json"
    (path,) = write_table(record, {"rows": [row("sm_80", 90), {**row("sm_90", 91), "extra": 1}], "triton": "3.7.1"})
    assert path == record.with_suffix(".md")
    lines = path.read_text().splitlines()
    assert "| operation | kernel | target | registers | spills | stack bytes | shared bytes | extra |" in lines
    assert "| logits | k | sm_80 | 90 | 0 | 0 | 1024 |  |" in lines
