"""Test that `make test-ptx` runs the compiled kernels where the tool for it is there, and says so where it is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_target(tools: Path) -> subprocess.CompletedProcess[str]:
    ready = tools / "ready"  # stands for the virtual environment, which is not made here
    ready.touch()
    settings = [f"TOOLS={tools}", f"READY={ready}", f"BIN={Path(sys.executable).parent}"]
    command = ["make", "--silent", "--old-file", ready, "-C", ROOT, "test-ptx", *settings]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_quick_variants_run_and_ours_with_them(tmp_path: Path) -> None:
    (tmp_path / "ptxrun").mkdir()
    needed = "tests.kernels.ptx_variants", "kernel_cases", "bistil_kernels"
    (tmp_path / "ptxrun" / "check.py").write_text(
        f"import sys\nfrom importlib.util import find_spec\n"
        f"print(*sys.argv[1:], *[name for name in {needed} if not find_spec(name)])\nsys.exit(1)\n"
    )
    done = run_target(tmp_path)
    assert done.stdout.splitlines()[0] == "--project . --more tests.kernels.ptx_variants --quick"
    assert done.returncode != 0, "a variant that fails fails the target"


def test_without_the_tool_one_line_says_that_nothing_ran(tmp_path: Path) -> None:
    done = run_target(tmp_path)
    assert done.stdout == f"no {tmp_path}/ptxrun here: the compiled kernels were not run\n"
    assert done.returncode == 0
