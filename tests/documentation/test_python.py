"""Test that the Python in README and docs/ compiles, and that the names it uses exist."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from documents import DOCUMENTS, Block, blocks, inline

OF_EXTRAS = ("onnxruntime", "openvino", "sentence_transformers")
PYTHON = [block for path in DOCUMENTS for block in blocks(path) if block.kind == "python"]
PYTHON += [
    Block(path.name, 0, "python", span)
    for path in DOCUMENTS
    for span in inline(path)
    if span.startswith(("from ", "import "))
]


def check_names(text: str) -> None:
    """Import what `text` imports, and compare the keywords of its calls with the functions that it imported."""
    tree = ast.parse(text)
    found: dict[str, object] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            found |= {name.asname or name.name: getattr(module, name.name) for name in node.names}
        elif isinstance(node, ast.Import):
            for name in node.names:
                importlib.import_module(name.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and callable(of := found.get(node.func.id)):
            keywords = {keyword.arg: None for keyword in node.keywords if keyword.arg}
            inspect.signature(of).bind_partial(**keywords)
    lint = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F82", "-"]
    done = subprocess.run(lint, input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        raise NameError(done.stdout)


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_the_python_compiles_and_its_names_exist(block: Block) -> None:
    try:
        check_names(block.text)
    except ModuleNotFoundError as error:
        if error.name not in OF_EXTRAS:
            raise
        pytest.skip(f"{error.name} is not installed")


@pytest.mark.parametrize(
    "text",
    [
        "from bistil_ds import",
        "from bistil_ds import no_such_name",
        "from bistil_ds import build_student\nbuild_student(None, no_such_keyword=1)",
        "print(no_such_name)",
    ],
)
def test_python_that_would_not_work_is_found(text: str) -> None:
    with pytest.raises((SyntaxError, AttributeError, TypeError, NameError)):
        check_names(text)


def test_the_readme_is_short_and_no_line_of_prose_is_wide() -> None:
    readme = Path(DOCUMENTS[0]).read_text(encoding="utf-8").splitlines()
    assert len(readme) <= 130
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8").splitlines()
        wide = [number for number, line in enumerate(text, 1) if len(line) > 120 and not line.startswith(("|", "    "))]
        assert not wide, path.name
