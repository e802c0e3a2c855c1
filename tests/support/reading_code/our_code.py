"""Search our own code for subclasses of other libraries' classes, and for private names of other libraries.

Nothing here depends on the path of a module: the search walks all modules of the two packages.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import Any, NamedTuple

OURS = ("bistil_ds", "bistil_kernels")

# Names that Python itself calls or defines.
PYTHONS = {
    *(name for kind in (object, type, dict, list, property, ModuleType) for name in dir(kind)),
    *("__call__", "__enter__", "__exit__", "__get__", "__iter__", "__len__", "__missing__", "__mro__", "__next__"),
    *("__dataclass_fields__", "__file__", "__future__", "__main__", "__name__", "__path__", "__post_init__"),
    "__version__",
    *("_asdict", "_fields", "_make", "_replace"),  # public methods of named tuples, in spite of their underscore
}

BY_STRING = ("getattr", "hasattr", "setattr", "delattr")


class Read(NamedTuple):
    """A private name and the place where our code reads or sets it."""

    name: str
    place: str


@cache
def our_modules() -> list[ModuleType]:
    """Import and return every module of ours."""
    found = [import_module(name) for name in OURS]
    for package in list(found):
        names = [each.name for each in walk_packages(package.__path__, f"{package.__name__}.")]
        found += [import_module(name) for name in names if not name.endswith("__main__")]
    return found


@cache
def our_trees() -> dict[str, ast.Module]:
    """Return the syntax tree of each module by the module's name."""
    return {module.__name__: ast.parse(inspect.getsource(module)) for module in our_modules()}


def our_classes() -> list[type]:
    found = (kind for module in our_modules() for kind in vars(module).values() if isinstance(kind, type))
    return sorted({kind for kind in found if is_ours(kind)}, key=lambda kind: (kind.__module__, kind.__qualname__))


def is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in OURS


def upstream_of(kind: type) -> type | None:
    """Return the first class of another library among the ancestors of `kind`; standard base classes do not count."""
    plain = {"builtins", "typing", "abc", "enum", "collections", "dataclasses", "io", "_io"}
    others = (each for each in kind.__mro__ if not is_ours(each))
    return next((each for each in others if each.__module__.partition(".")[0] not in plain), None)


def overriding() -> Iterator[tuple[type, type, str]]:
    """Yield (class of ours, upstream class, method) for every method that a subclass of ours defines."""
    for kind in our_classes():
        upstream = upstream_of(kind)
        for name, value in vars(kind).items() if upstream else ():
            method = getattr(value, "__func__", value)
            is_method = inspect.isfunction(method) or isinstance(method, property)
            if is_method and name not in dir(object) and (hasattr(upstream, name) or name not in PYTHONS):
                yield kind, upstream, name  # type: ignore[misc]


def label(upstream: type) -> str:
    return f"{upstream.__module__.partition('.')[0]} {upstream.__name__}"


def parameters(method: Any) -> str:
    """Return the signature in one line, without annotations."""
    found = []
    for one in inspect.signature(method).parameters.values():
        star = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        plain = one.default is None or isinstance(one.default, (bool, int, float, str))
        value = "" if one.default is one.empty else f"={one.default!r}" if plain else "=…"
        found.append(f"{star}{one.name}{value}")
    return ", ".join(found)


def is_private(name: str) -> bool:
    return (name.startswith(("_", "ds_")) and name != "_") and name not in PYTHONS


@cache
def private_reads() -> list[Read]:
    """Return every private name, and every name that begins with `ds_`, that our code takes from other code."""
    own = own_names()
    return [read for module, tree in our_trees().items() for read in reads_in(tree, module, own)]


def own_names() -> dict[str, set[str]]:
    """Return class → the names that it, or a base class of ours, defines or sets on `self`."""
    bases: dict[str, set[str]] = {}
    names: dict[str, set[str]] = {}
    classes = [node for tree in our_trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for node in classes:
        bases.setdefault(node.name, set()).update(ast.unparse(base).rpartition(".")[2] for base in node.bases)
        mine = names.setdefault(node.name, set())
        for inner in ast.walk(node):
            if isinstance(inner, (ast.FunctionDef, ast.ClassDef)):
                mine.add(inner.name)
            elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                mine.add(inner.id)
            elif isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store) and is_self(inner.value):
                mine.add(inner.attr)

    def with_bases(name: str) -> set[str]:
        return names.get(name, set()).union(*(with_bases(base) for base in bases.get(name, ()) if base != name))

    return {name: with_bases(name) for name in names}


def is_self(node: ast.expr) -> bool:
    is_super = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    return is_super or (isinstance(node, ast.Name) and node.id in ("self", "cls"))


def reads_in(tree: ast.Module, module: str, own: dict[str, set[str]]) -> Iterator[Read]:
    inside: dict[ast.AST, str] = {}
    for node in ast.walk(tree):  # outer classes come first, so that an inner class overwrites its outer one
        if isinstance(node, ast.ClassDef):
            inside.update(dict.fromkeys(ast.walk(node), node.name))
    for node in ast.walk(tree):
        for name in names_taken(node):
            mine = isinstance(node, ast.Attribute) and is_self(node.value) and name in own.get(inside.get(node, ""), ())
            if not mine:
                yield Read(name, f"{module}:{node.lineno}")  # type: ignore[attr-defined]


def names_taken(node: ast.AST) -> list[str]:
    """Return the private names in a node: after a dot, in `getattr` and the like, in imports and in dotted strings."""
    match node:
        case ast.Attribute(attr=name):
            return [name] if is_private(name) else []
        case ast.Call(func=ast.Name(id=called), args=[_, ast.Constant(str(name)), *_]) if called in BY_STRING:
            return [name] if is_private(name) else []
        case ast.ImportFrom(module=str(source), names=names) if source.partition(".")[0] not in OURS:
            parts = [*source.split("."), *(each.name for each in names)]
            return [part for part in parts if is_private(part)]
        case ast.Import(names=names):
            return [part for each in names for part in each.name.split(".") if is_private(part)]
        case ast.Constant(str(text)) if re.fullmatch(r"[a-z]\w*(\.\w+)+", text) and text.partition(".")[0] not in OURS:
            return [text] if any(map(is_private, text.split("."))) else []
    return []


def strings() -> set[str]:
    """Return every string in our code."""
    nodes = (node for tree in our_trees().values() for node in ast.walk(tree))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def public_names() -> set[str]:
    """Return every attribute that our code reads or sets, and every string."""
    nodes = (node for tree in our_trees().values() for node in ast.walk(tree))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)} | strings()
