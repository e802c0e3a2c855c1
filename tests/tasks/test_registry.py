"""Test that tasks are found by name: ours, and those that installed packages declare."""

from __future__ import annotations

from pathlib import Path

import pytest

from bistil_ds.errors import InputError
from bistil_ds.tasks import ReadOptions, Task, find_task, task_names
from bistil_ds.tasks.registry import OURS

MODULE = """
from bistil_ds.tasks.nli import Inference

class Topics(Inference):
    name = "topics"

class Stranger:
    pass
"""
ENTRY_POINTS = """
[bistil_ds.tasks]
topics = some_topics:Topics
stranger = some_topics:Stranger
lost = some_topics:Lost
gone = no_such_module:Task
nli = some_topics:Topics
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package that declares good and bad tasks."""
    (tmp_path / "some_topics.py").write_text(MODULE)
    metadata = tmp_path / "some_topics-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: some-topics\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)


def test_ours_are_all_there_under_their_names() -> None:
    assert {"dp", "pos", "ner", "nli", "qa", "mlm"} <= set(OURS) <= set(task_names())
    assert all(find_task(name).name == name for name in OURS)


@pytest.mark.usefixtures("package")
def test_a_task_of_an_installed_package_is_found_and_reads(tmp_path: Path) -> None:
    task = find_task("topics")
    assert isinstance(task, Task)
    assert "topics" in task_names()
    (tmp_path / "a.tsv").write_text("premise\thypothesis\tlabel\na\tb\tneutral\n")
    assert [pair.premise for pair in task.read(str(tmp_path / "a.tsv"), ReadOptions())] == ["a"]


@pytest.mark.usefixtures("package")
def test_a_package_cannot_put_its_task_in_the_place_of_ours() -> None:
    assert find_task("nli").name == "nli"


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stranger", "its plug-in some_topics:Stranger is not a bistil_ds.tasks.Task"),
        ("lost", "its plug-in some_topics:Lost cannot be loaded"),
        ("gone", "its plug-in no_such_module:Task cannot be loaded: No module named 'no_such_module'"),
        ("nothing", "no such task; give one of .*topics"),
    ],
)
def test_what_is_no_task_is_named(name: str, expected: str) -> None:
    with pytest.raises(InputError, match=f"^--task {name}: {expected}"):
        find_task(name)
