"""Run every `test_fused.py` under Triton's interpreter, in a few processes that take about equally long."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# the operations whose tests share a process: a start takes as long as some of them
TOGETHER = (("attention_map",), ("hidden_state", "linear_logits"), ("logits", "runtime", "sparse"))


def test_every_file_has_its_process() -> None:
    found = [path for names in TOGETHER for name in names for path in (HERE / name).rglob("test_fused.py")]
    assert sorted(found) == sorted(HERE.rglob("test_fused.py"))


@pytest.mark.parametrize("chosen", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
@pytest.mark.parametrize("names", TOGETHER, ids=" ".join)
def test_kernels_pass_under_the_interpreter(names: tuple[str, ...], chosen: str) -> None:
    files = sorted(str(path) for name in names for path in (HERE / name).rglob("test_fused.py"))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", chosen, *files]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment = {k: v for k, v in environment.items() if not k.startswith("PYTEST_")}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    none_is_slow = chosen == "slow" and done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert done.returncode == 0 or none_is_slow, done.stdout[-6000:] + done.stderr[-2000:]
