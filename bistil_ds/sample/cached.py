"""Make the folders of the embedded sample when they are first needed, and keep them in the cache."""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import bistil_ds
from bistil_ds.errors import Notice
from bistil_ds.runs.cache import cache_folder, file_hash, writing_cache
from bistil_ds.runs.seals import damage, write_seal

SHIPPED = Path(__file__).parent / "model"  # the model in the package; `pack.py` wrote it
# paths, within the package, of all modules whose code shapes the sample's model or corpora
SOURCES = (
    *("sample/mmt.py", "sample/text.py"),
    *(
        f"sample/grammar/{name}.py"
        for name in (
            *("annotation", "english", "english_phrases", "generation", "meaning", "modifiers", "names", "nouns"),
            *("planning", "swahili", "swahili_forms", "turkish", "turkish_forms", "verb_clauses", "verbs"),
        )
    ),
)
_PACKAGES = ("torch", "transformers", "tokenizers")  # their versions shape what is trained on the sample


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return the sample's folder `name` from the cache; make it if it is missing. If it is damaged, warn and remake it.

    `make` fills a temporary folder. Afterwards the folder gets a seal (a file with hashes of its files) and its name.

    Raises:
        InputError: the cache cannot be written.
    """
    parent = cache_folder("sample", _recipe_hash())
    final = parent / name
    if not final.is_dir() or (reason := damage(final)):
        if final.is_dir():
            warnings.warn(f"{reason}; this part of the cached sample is made again", Notice, stacklevel=2)
        with writing_cache(parent):
            part = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
        try:
            make(part)
            part.chmod(0o755)
            write_seal(part)
            _replace(final, part)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return final


def _replace(final: Path, part: Path) -> None:
    """Rename `part` to `final`, and remove a damaged `final` first.

    If another process has made a whole `final` meanwhile, keep that one.
    """
    if final.is_dir():
        if damage(final) is None:
            return
        shutil.rmtree(final, ignore_errors=True)
    try:
        os.rename(part, final)
    except OSError:
        if damage(final):
            raise


def code_hash(paths: Iterable[Path]) -> str:
    """Return the SHA-256 (hex) of the code of Python files; comments, docstrings and layout do not count."""
    sha = hashlib.sha256()
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and _is_text(body[0]):
                del body[0]
        sha.update(ast.dump(tree).encode())
    return sha.hexdigest()


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _recipe_hash() -> str:
    """Return a hash of all that shapes the files: the shipped model, the code of `SOURCES`, versions of `_PACKAGES`."""
    package = Path(bistil_ds.__file__).parent
    shipped = [file_hash(path) for path in sorted(SHIPPED.iterdir())]
    versions = repr([version(name) for name in _PACKAGES])
    text = versions + code_hash(package / path for path in SOURCES) + repr(shipped)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
