"""Test on two ranks, without DeepSpeed and at ZeRO 0 to 3, that every rank stops at what one of them finds."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from launch import PROGRAMS, python_path, start_ranks

WHAT = {"fp32": ["loss", "gradient", "weights"], "bf16": ["gradient"], "fp16": ["skips"]}


@pytest.mark.slow
def test_every_rank_stops_and_nothing_is_saved(base: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": python_path()}
    words = [*start_ranks(2), str(PROGRAMS / "not_finite.py"), str(base), str(tmp_path)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2500:] + done.stderr[-5000:]
    stages = {"fp32": ["None", "0", "1", "2", "3"], "bf16": ["0", "1", "2", "3"], "fp16": ["0", "1", "2", "3"]}
    expected = {f"{zero} {kind} {what}" for kind in WHAT for zero in stages[kind] for what in WHAT[kind]}
    expected.add("0 fp32 gradient unclipped")
    assert expected == {line for line in done.stdout.splitlines() if line.split()[1:2] and line.split()[1] in WHAT}
