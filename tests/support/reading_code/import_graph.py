"""Read from the sources which of our modules import which others, including imports inside functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = {"bistil_ds": ROOT / "bistil_ds", "bistil_kernels": ROOT / "kernels" / "bistil_kernels"}


def modules() -> dict[str, Path]:
    """Return the file of each module by its dotted name; a package has its own name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


def imports() -> dict[str, set[str]]:
    """Return module → the modules of ours that it imports; `from package import module` imports both."""
    known = modules()
    return {name: set(_imported(path, known)) - {name} for name, path in known.items()}


def _imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield from (name for name in (whole, node.module) if name in known)


def reached(start: str, graph: dict[str, set[str]]) -> set[str]:
    """Return every module that an import of `start` may lead to, including `start`."""
    seen, left = {start}, [start]
    while left:
        new = graph[left.pop()] - seen
        seen |= new
        left += new
    return seen


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that reach each other; a package does not count as importing its own modules."""
    plain = {name: {t for t in targets if not name.startswith(f"{t}.")} for name, targets in graph.items()}
    reach = {name: reached(name, plain) for name in plain}
    groups = {frozenset(t for t in reach[name] if name in reach[t]) for name in plain}
    return sorted(sorted(group) for group in groups if len(group) > 1)
