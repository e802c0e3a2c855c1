"""Deal tests out to pytest-xdist's workers so that all of them end at about the same time."""

from __future__ import annotations

from typing import Any

# Files with long tests that share no fixture. Any worker may run any of these tests. The tests of any other file all
# run on one worker, so that fixtures of the module are made once.
DEALT_BY_TEST = ("tests/kernels/test_interpreted.py", "tests/kernels/test_compile.py")
# Files that take more than half a minute, longest first. All others start later, so no worker waits long at the end.
LONGEST = (
    *DEALT_BY_TEST,
    "tests/distillation/test_zero.py",
    "tests/commands/test_resume.py",
    "tests/tuning/test_zero_sparse.py",
)


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def rank_of(nodeid: str) -> int:
    """Return the place of a test's file among the files that start first; all other files share the last place."""
    file = file_of(nodeid)
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)


def longest_first(config: Any, log: Any) -> Any:
    """Return a scheduler for pytest-xdist that deals out whole files, but the tests of `DEALT_BY_TEST` one by one."""
    from xdist.scheduler import LoadFileScheduling  # only runs with `-n` need pytest-xdist

    class LongestFirst(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = file_of(nodeid)
            return nodeid if file in DEALT_BY_TEST else file

    config.option.loadscopereorder = False  # else xdist begins with the files with the most tests, which are short
    return LongestFirst(config, log)
