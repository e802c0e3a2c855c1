"""Test the page of a GPU run: its tables, the aims, and what it says of parts that failed or left something out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bistil_ds.benchmarking.gpu.page import kernels_grid, page_of, step_aims
from bistil_ds.benchmarking.gpu.parts import PARTS
from bistil_ds.benchmarking.gpu.running import new_row
from bistil_ds.benchmarking.gpu.steps import TOY, table_of
from bistil_ds.benchmarking.gpu.tables import REHEARSAL, failures, gpu_grids

CHECKS = [
    {"family": "logits", "dtype": "bfloat16", "complaint": None, "seconds": 1.0},
    {"family": "logits", "dtype": "float16", "complaint": "the value is off by 0.02", "seconds": 1.0},
    {"family": "hidden_state", "dtype": "bfloat16", "complaint": None, "seconds": 1.0},
]
RUN: dict[str, Any] = {"model": "mini", "zero": 2, "kernels": "torch"}
LOSSES = [
    {"note": "the package deepspeed is not installed: trained without it"},
    {**RUN, "steps": [{"loss": 2.0}, {"loss": 1.0}]},
    {**RUN, "kernels": "triton", "error": "RuntimeError: no launch"},
    {**RUN, "zero": None, "kernels": None, "differences": {"loss": 0.1, "logit": 0.5}, "same": False},
]
TESTS = [
    {"collected": 5},
    {"test": "tests/gpu/test_a.py::test_b", "outcome": "passed", "seconds": 1.0},
    {"test": "tests/gpu/test_a.py::test_c", "outcome": "failed", "seconds": 1.0, "error": "assert 1 == 2"},
    {"test": "tests/gpu/test_a.py::test_d", "outcome": "skipped", "seconds": 0.0},
]


def content(rows: dict[str, dict[str, Any]], *, quick: bool = False) -> dict[str, Any]:
    """Return a run's record in which these rows, by part, have other values than those of a part that has not begun."""
    return {
        "arguments": {"minutes": 4.0, "quick": quick},
        "hardware": {"gpus": [] if quick else [{"name": "NVIDIA H200"}]},
        "versions": {"torch": "2.11.0", "triton": "3.6.0", "deepspeed": None},
        "git": {"commit": "0123456789abcdef", "dirty": True},
        "date": "2026-11-30T01:00:00+00:00",
        "rows": [{**new_row(part), **rows[part.key]} for part in PARTS if part.key in rows],
    }


def cells(found: dict[str, Any], title: str) -> list[list[str]]:
    (grid,) = (grid for grid in gpu_grids(found) if grid.title == title)
    return grid.rows


def test_each_family_has_a_line_and_each_dtype_a_column() -> None:
    found = content({"b": {"status": "done", "findings": CHECKS}})
    assert cells(found, "Kernels against float64") == [
        ["logits", "as exact as PyTorch", "the value is off by 0.02"],
        ["hidden_state", "as exact as PyTorch", "not tried"],
    ]


def test_runs_and_comparisons_are_lines() -> None:
    assert cells(content({"c": {"findings": LOSSES}}), "Phase 1") == [
        ["mini, ZeRO-2", "torch", "2", "1", ""],
        ["mini, ZeRO-2", "triton", "failed", "", "RuntimeError: no launch"],
        ["mini, no DeepSpeed", "compared", "", "", "logit 0.5, NOT THE SAME"],
    ]


def test_tests_are_counted_and_those_that_failed_are_named() -> None:
    assert cells(content({"g": {"findings": TESTS}}), "Tests that need a GPU") == [
        ["passed", "1"],
        ["failed", "1"],
        ["skipped", "1"],
        ["not run", "2"],
        ["tests/gpu/test_a.py::test_c", "assert 1 == 2"],
    ]


def test_everything_that_failed_is_named() -> None:
    rows = {"b": {"findings": CHECKS}, "c": {"findings": LOSSES}, "g": {"findings": TESTS}}
    broken = [{"broken": "gather_at, 85 M entries, bfloat16: not finite"}]
    rows |= {
        "d": {"status": "failed", "why": "was ended by SIGSEGV", "findings": broken},
        "e": {"status": "skipped", "why": "5 s left"},
    }
    assert failures(content(rows)) == [
        "part b: logits in float16: the value is off by 0.02",
        "part c: mini, ZeRO 2, triton: RuntimeError: no launch",
        "part c: mini, ZeRO None: losses differ: logit 0.5",
        "part d: was ended by SIGSEGV",
        "part d: gather_at, 85 M entries, bfloat16: not finite",
        "part g: tests/gpu/test_a.py::test_c: assert 1 == 2",
    ]


def test_a_failed_part_shows_its_last_lines_and_a_shortened_one_what_it_left_out(tmp_path: Path) -> None:
    left_out = [{"skipped": "energy", "why": "3 s were left, and it needs 20"}]
    rows = {"d": {"status": "failed", "error": ["CUDA error: \x1b[31mmisaligned address"]}, "f": {"findings": left_out}}
    page = page_of(content(rows), tmp_path)
    assert "\n    CUDA error: \\x1b[31mmisaligned address\n" in page
    assert "Part f left out energy: 3 s were left, and it needs 20." in page


def test_only_a_rehearsal_says_that_no_figure_counts(tmp_path: Path) -> None:
    rows = {"a": {"status": "done", "findings": [{"name": "copy bandwidth", "rate": 4.3e12, "unit": "B/s"}]}}
    page = page_of(content(rows), tmp_path)
    assert page.startswith("# A GPU run: NVIDIA H200\n")
    assert "| copy bandwidth | 4.3 TB/s |" in page
    assert "torch 2.11.0; triton 3.6.0; transformers missing; deepspeed missing" in page
    assert "commit 0123456789 with changes" in page
    assert REHEARSAL not in page
    rehearsal = page_of(content(rows, quick=True), tmp_path)
    assert rehearsal.startswith("# Rehearsal of a GPU run\n")
    assert f"**{REHEARSAL}**" in rehearsal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, "nothing was measured"),
        ("{", "cannot be shown (InputError)"),
        (json.dumps({"benchmark": "latency", "rows": [{"engine": 1}]}), "cannot be shown (KeyError)"),
        (json.dumps({"benchmark": "energy", "rows": [{"model": "m", "unavailable": "no NVML"}]}), "no NVML"),
    ],
)
def test_the_tables_of_records_are_on_the_page_whatever_became_of_them(
    text: str | None, shown: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "one.json").write_text(text)
    page = page_of(content({"f": {"records": ["one.json"]}}), tmp_path)
    assert "In one.json:" in page
    assert shown in page


def test_a_kernel_is_one_line_with_the_others_over_ours() -> None:
    case = {"kernel": "hidden_state_loss mse", "size": "8×256, width 768", "dtype": "bfloat16"}
    ours = {"way": "ours", "status": "ok", "seconds": 2e-5, "of_roofline": 0.9, "aims": "eager >= 3: 4, met"}
    rows = [{**case, **ours}, {**case, "way": "eager", "status": "ok", "time_over_ours": 4.0}]
    rows += [{**case, "way": "liger", "status": "not installed"}, {**case, "size": "other", **ours}]
    (grid,) = kernels_grid({"rows": rows, "rates": {"copy_bandwidth": 4.3e12}})
    assert grid.columns == ["case", "ms", "% roofline", "eager / ours", "liger / ours", "status, aims"]
    name = "hidden_state_loss mse, 8×256, width 768, bfloat16"
    assert grid.rows[0] == [name, "0.02", "90", "4", "not installed", "ok; eager >= 3: 4, met"]
    assert grid.rows[1][3:5] == ["", ""]
    assert grid.note == "above 1: ours is faster; copy_bandwidth 4.3e+12/s"


@pytest.mark.parametrize(("ours", "verdicts"), [(1.1, ["met", "met"]), (1.2, ["missed", "missed"])])
def test_the_aims_of_the_whole_step_compare_bf16_with_the_floor_and_with_fp32(ours: float, verdicts: list[str]) -> None:
    tables = {dtype: table_of(TOY, dtype) for dtype in (torch.bfloat16, torch.float32)}
    seconds = {
        (tables[torch.bfloat16], "floor"): 1.0,
        (tables[torch.bfloat16], "ours"): ours,
        (tables[torch.float32], "ours"): 9.0,
        (tables[torch.float32], "eager"): 3.3001,
    }
    rows = [{"table": table, "way": way, "seconds": [each] * 3} for (table, way), each in seconds.items()]
    found = step_aims({"rows": [*rows, {"table": tables[torch.bfloat16], "way": "eager"}]})
    assert [row[2] for row in found] == verdicts
    assert found[0][:2] == ["toy, batch 2 × 8: ours / floor ≤ 1.10", f"{ours:.3g}"]
