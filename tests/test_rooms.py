"""Test the order of the rooms: imports go down only, modules form no circles, and no folder is overfull."""

from __future__ import annotations

import subprocess
from collections import Counter

import pytest
from reading_code.import_graph import ROOT, circles, imports, modules

# A room imports only from rooms on lines below its own. `bistil_kernels` lies under all rooms and imports none of them.
LAYERS = (
    ("demo",),
    ("commands", "benchmarking"),
    ("sample",),
    ("distillation", "tuning", "evaluation", "export", "pretraining", "trimming"),
    ("training",),
    ("tasks", "sparse"),
    ("text", "sft", "student", "embedding"),
    ("distributed",),
    ("vocabulary",),
    ("models",),
    ("runs",),
    ("console",),
    ("errors",),
)
HEIGHT = {room: -number for number, line in enumerate(LAYERS) for room in line}
MOST_MODULES = 20


def room_of(module: str) -> str | None:
    """Return the room of a module, such as `tasks` for `bistil_ds.tasks.parsing.dp`; None outside the rooms."""
    package, *parts = module.split(".")
    return parts[0] if package == "bistil_ds" and parts else None


def wrong_arrows(graph: dict[str, set[str]]) -> list[str]:
    found = []
    for module, targets in graph.items():
        here = room_of(module)
        for target in targets:
            there = room_of(target)
            into_ours = module.startswith("bistil_kernels") and target.startswith("bistil_ds")
            sideways = here and there and here != there and HEIGHT[there] >= HEIGHT[here]
            if into_ours or sideways:
                found.append(f"{module} imports {target}")
    return sorted(found)


def test_every_room_has_its_place() -> None:
    assert {room_of(module) for module in modules()} - {None} == set(HEIGHT)


def test_arrows_between_rooms_go_down() -> None:
    assert wrong_arrows(imports()) == []


def test_an_arrow_that_goes_up_or_sideways_is_found() -> None:
    graph = {"bistil_ds.errors": {"bistil_ds.console.cli"}, "bistil_ds.text.chunks": {"bistil_ds.sft.folder"}}
    assert len(wrong_arrows({**graph, "bistil_kernels.logits": {"bistil_ds"}})) == 3


def test_nothing_imports_in_circles() -> None:
    assert circles(imports()) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]


def test_no_folder_is_overfull() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode or not listed.stdout:
        pytest.skip("not a git checkout")
    names = [name.rpartition("/") for name in listed.stdout.split()]
    full = Counter(folder for folder, _, name in names if name != "__init__.py")
    assert {folder: count for folder, count in full.items() if count > MOST_MODULES} == {}


@pytest.mark.parametrize("package", ["bistil_ds", "kernels/bistil_kernels"])
def test_every_folder_of_code_says_what_it_is(package: str) -> None:
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    starts = {folder / "__init__.py" for folder in folders}
    assert [str(path) for path in starts if not path.is_file() or not path.read_text().startswith('"""')] == []
