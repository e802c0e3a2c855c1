"""Fixtures that every test may use, and the order in which tests run."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from scheduling import longest_first, rank_of

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks the hub, and a name that is no folder must not wait for it


CONFIG_HOME = tempfile.TemporaryDirectory(prefix="bistil-tests-")


def pytest_configure(config: pytest.Config) -> None:
    """Keep tests out of the user's configuration folder, in which the first run makes a key."""
    if not hasattr(config, "workerinput"):  # workers of pytest-xdist share the folder of the process that starts them
        os.environ["XDG_CONFIG_HOME"] = CONFIG_HOME.name


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--sixth", type=int, metavar="N", help="run one test of six, the Nth (0 to 5) by its name")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: rank_of(item.nodeid))
    sixth = config.getoption("sixth")
    if sixth is None:
        return
    chosen = [item for item in items if crc32(item.nodeid.encode()) % 6 == sixth]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def exempt_from_collections() -> None:
    """Exempt all objects that there are from garbage collection: each training collects several times."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish(session: pytest.Session) -> None:
    exempt_from_collections()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """After a file's last test, exempt what its tests imported, else each later training would walk through it."""
    done = yield
    if nextitem is None or nextitem.path != item.path:
        exempt_from_collections()
    return done


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return longest_first(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real data and models beside the checkout; skip the test where it is absent."""
    folder = Path(__file__).parents[2] / "shared"
    if not (folder / "models" / "mini-mmt" / "config.json").is_file():
        pytest.skip(f"no real data and models at {folder}")
    return folder
