"""Test that pyproject.toml lists the libraries that we import, with version ranges that include the tested set."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions

import pytest
from other_versions import ROOT, bounded, pins, requirements
from packaging.requirements import Requirement
from reading_code.our_code import OURS, our_trees

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# module → its distribution, for modules that may not be installed
CONVENTIONAL = {"mlflow": "mlflow-skinny", "pynvml": "nvidia-ml-py"}
# a peer of the benchmarks, and what runs the tests of a clone on a GPU: imported only if they are there
COMPARED_WITH = {"liger_kernel", "pytest"}
BOUNDED = {"accelerate", "datasets", "deepspeed", "huggingface_hub", "tokenizers", "torch", "transformers", "triton"}
BOUNDED |= {"nncf", "openvino", "sentence_transformers"}


def imported() -> set[str]:
    """Return the top-level modules of others that our code imports, including imports inside functions."""
    return {name for tree in our_trees().values() for node in ast.walk(tree) for name in imports_of(node)}


def imports_of(node: ast.AST) -> Iterator[str]:
    names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
    names += [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level else []
    for name in names:
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in OURS:
            yield top


def declared() -> set[str]:
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for name in extras if name != "dev" for line in extras[name])]
    return {normal(Requirement(line).name) for line in lines}


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


def test_every_imported_library_is_a_dependency() -> None:
    distributions = {module: names[0] for module, names in packages_distributions().items()}
    needed = {
        module: normal(CONVENTIONAL.get(module) or distributions.get(module, module))
        for module in imported() - COMPARED_WITH
    }
    undeclared = {module: name for module, name in needed.items() if name not in declared()}
    assert not undeclared, f"imported, but not in pyproject.toml: {undeclared}"


def imported_at_once(tree: ast.Module) -> set[str]:
    """Return the modules of others that are imported with a module of ours, and not when a function of it runs."""
    inside = {each for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for each in ast.walk(node)}
    return {name for node in ast.walk(tree) if node not in inside for name in imports_of(node)}


def test_what_an_extra_brings_is_imported_only_where_it_is_used() -> None:
    extras = PROJECT["optional-dependencies"]
    optional = {normal(Requirement(line).name) for lines in extras.values() for line in lines}
    distributions = {module: normal(names[0]) for module, names in packages_distributions().items()}
    too_early = {
        module: names
        for module, tree in our_trees().items()
        if (names := {name for name in imported_at_once(tree) if distributions.get(name) in optional})
    }
    assert not too_early


def test_the_libraries_we_lean_on_have_upper_bounds() -> None:
    on_this_platform = BOUNDED if sys.platform == "linux" else BOUNDED - {"deepspeed", "triton"}
    assert on_this_platform <= set(bounded())


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_the_tested_version_lies_within_the_range(requirement: Requirement) -> None:
    pinned = pins().get(requirement.name.replace("-", "_"))
    assert pinned is None or pinned in requirement.specifier


def test_every_bounded_library_is_pinned_in_the_tested_set() -> None:
    assert set(bounded()) <= set(pins())
