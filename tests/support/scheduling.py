"""Deal tests out to pytest-xdist's workers so that all of them end at about the same time."""

from __future__ import annotations

from typing import Any

# Files that take more than half a minute, longest first. All others start later, so no worker waits long at the end.
LONGEST = (
    "tests/kernels/test_interpreted.py",
    "tests/distillation/test_zero.py",
    "tests/benchmarking/gpu/test_gpu_benchmark.py",
    "tests/kernels/test_compile.py",
    "tests/commands/test_resume.py",
    "tests/tuning/test_zero_sparse.py",
)


def rank_of(nodeid: str) -> int:
    """Return the place of a test's file among the files that start first; all other files share the last place."""
    file = nodeid.partition("::")[0]
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)


def longest_first(config: Any, log: Any) -> Any:
    """Return a scheduler for pytest-xdist that deals out whole files, in the order of their tests."""
    from xdist.scheduler import LoadFileScheduling  # only runs with `-n` need pytest-xdist

    config.option.loadscopereorder = False  # else xdist begins with the files with the most tests, which are short
    return LoadFileScheduling(config, log)
