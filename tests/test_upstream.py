"""Test that the methods of other libraries that we override, and their private names that we read, still exist.

Python raises no error if a method no longer overrides anything, or if `getattr(…, default)` no longer finds its name.
So these tests search our code for such methods and names, in any module, and each must be in a table of
`tests/support/reading_code/upstream.py`. Each failure names the library and its version.
`python -m tests.test_upstream` prints the methods and names.
"""

from __future__ import annotations

import ast
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import pytest
from reading_code.our_code import label, overriding, parameters, private_reads, public_names, reads_in, strings
from reading_code.upstream import OUR_PRIVATE, OVERRIDDEN, OWN_METHODS, PRIVATE, SILENT, At, ReadIn, SetIn


def installed(module: str) -> str | None:
    """Return the library of a module with its version, such as `torch 2.13.0`; None where it is not installed."""
    library = module.partition(".")[0]
    if library in sys.stdlib_module_names:
        return f"Python {platform.python_version()} ({library})"
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:
        return None


def missing(table: dict[str, At | SetIn | ReadIn]) -> list[str]:
    """Return one line for each name in the table that its library no longer has."""
    found = []
    for name, where in table.items():
        library = installed(where.module)
        if library and not (exists(where.module) and where.is_there(name)):
            readers = sorted({read.place.partition(":")[0] for read in private_reads() if read.name == name})
            found.append(f"{library}: no {name!r}: {where} is gone (read in {', '.join(readers) or 'our code'})")
    return found


def exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def complaints() -> list[str]:
    """Return one line for each of our methods that overrides nothing, or something with unexpected parameters."""
    found = []
    for kind, upstream, name in overriding():
        method = f"{installed(upstream.__module__)}: {upstream.__name__}.{name}"
        expected = OVERRIDDEN.get(label(upstream), {}).get(name)
        now = parameters(getattr(upstream, name)) if callable(getattr(upstream, name, None)) else None
        if now is None and expected is not None:
            found.append(f"{method} is gone: {kind.__name__}.{name} overrides nothing and is never called")
        elif now is None and name not in OWN_METHODS.get(label(upstream), ()):
            found.append(f"{method} is not there: if only we call {kind.__name__}.{name}, add it to OWN_METHODS")
        elif now is not None and expected is None:
            found.append(f"{method} takes ({now}): {kind.__name__} overrides it; add it to OVERRIDDEN")
        elif now is not None and not agrees(now, str(expected)):
            found.append(f"{method} takes ({now}): {kind.__name__} expects ({expected})")
    return found


def agrees(now: str, expected: str) -> bool:
    is_open = expected.endswith(", …")
    return now.startswith(expected.removesuffix("…")) if is_open else now == expected


def nothing_in(lines: list[str]) -> None:
    """Fail with the lines alone, since a traceback would add nothing."""
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


# The tests


def test_what_we_override_is_there_with_the_parameters_we_expect() -> None:
    nothing_in(complaints())


def test_the_table_of_overridden_methods_holds_no_other() -> None:
    ours = {(label(upstream), name) for _, upstream, name in overriding()}
    tables = [{key: set(methods) for key, methods in OVERRIDDEN.items()}, OWN_METHODS]
    listed = {(key, name) for table in tables for key, methods in table.items() for name in methods}
    nothing_in([f"no class of ours defines {name} over {key} any more: take it out" for key, name in listed - ours])


def test_every_private_name_that_we_read_is_in_the_table() -> None:
    unknown = [read for read in private_reads() if read.name not in {*PRIVATE, *OUR_PRIVATE}]
    nothing_in([f"{read.place} reads {read.name!r}: say in PRIVATE where it lives upstream" for read in unknown])


def test_the_private_names_that_we_read_are_there() -> None:
    nothing_in(missing(PRIVATE))


def test_the_names_that_would_go_missing_in_silence_are_there() -> None:
    nothing_in(missing(SILENT))


def test_the_tables_of_names_hold_no_name_that_nobody_reads() -> None:
    read = {read.name for read in private_reads()} | strings()
    unread = [*({*PRIVATE, *OUR_PRIVATE} - read), *(set(SILENT) - public_names())]
    nothing_in([f"nobody reads {name!r} any more: take it out" for name in unread])


def test_a_method_renamed_upstream_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    before = complaints()
    monkeypatch.setattr(transformers.Trainer, "measure", transformers.Trainer.evaluate, raising=False)
    monkeypatch.delattr(transformers.Trainer, "evaluate")

    lines = set(complaints()) - set(before)

    assert len(lines) == 2  # one for each class of ours that overrides it
    for line in lines:
        assert line.startswith(f"transformers {transformers.__version__}: Trainer.evaluate is gone")


def test_a_new_parameter_upstream_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    def load_best_model(self: object, strict: bool = True) -> None:
        """Stand-in for a later release that has changed the parameters."""

    before = complaints()
    monkeypatch.setattr(transformers.Trainer, "_load_best_model", load_best_model)

    [line] = set(complaints()) - set(before)

    assert "Trainer._load_best_model takes (self, strict=True)" in line
    assert line.endswith("expects (self)")


def test_a_private_name_gone_upstream_is_noticed() -> None:
    table: dict[str, At | SetIn | ReadIn] = {
        "_renamed": At("torch:_C._renamed"),
        "ds_renamed": SetIn("torch.nn.modules.module"),
        "ds_moved": SetIn("torch.no_such_module.no_such_part"),
        "_modules": SetIn("torch.nn.modules.module"),
    }

    lines = missing(table)

    assert [line.split(": ")[1] for line in lines] == ["no '_renamed'", "no 'ds_renamed'", "no 'ds_moved'"]
    assert all(line.startswith(f"torch {version('torch')}: ") for line in lines)


def test_the_search_finds_every_way_to_take_a_private_name() -> None:
    source = """
import torch._one
from torch._two.part import _three, public
class Thing:
    def __init__(self):
        self._mine = super()._four(getattr(self, "_five", None))
        other.model._six = self._mine
        self._seven.dim
        if hasattr(other, "ds_eight"):
            run("-m", "package.ds_nine")
        return other._replace(_tenth=1), f"{other}_file", other.__dict__
"""
    tree = ast.parse(source)

    found = {read.name for read in reads_in(tree, "here", {"Thing": {"_mine"}})}

    taken = {"_one", "_two", "_three", "_four", "_five", "_six", "_seven", "ds_eight", "package.ds_nine"}
    assert found == taken


def print_figures() -> None:
    """Print how many private names of other libraries our code takes, and where."""
    upstream = [read for read in private_reads() if read.name in PRIVATE]
    modules: dict[str, set[str]] = {}
    for read in upstream:
        modules.setdefault(read.place.partition(":")[0], set()).add(read.name)
    libraries = {PRIVATE[read.name].module.partition(".")[0] for read in upstream}
    for library in sorted(libraries):
        names = {read.name for read in upstream if PRIVATE[read.name].module.partition(".")[0] == library}
        print(f"{library}: {len(names)} names: {', '.join(sorted(names))}")
    for module, names in sorted(modules.items()):
        print(f"{module}: {', '.join(sorted(names))}")
    rooms = {".".join(module.split(".")[:2]) for module in modules}
    distinct = len({read.name for read in upstream})
    print(f"{distinct} private names, read at {len(upstream)} places of {len(modules)} modules, {len(rooms)} rooms")


if __name__ == "__main__":
    print_figures()
