"""Folders of the embedded sample, made when first needed and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import bistil_ds
from bistil_ds.runs.cache import cache_folder

# What shapes the sample's model and text; its task files are drawn from the same sentences.
_SOURCES = (
    "sample/[!t]*.py",
    "sample/t[!a]*.py",
    "pretraining*.py",
    "masking.py",
    "unigram_tokenizer.py",
    "masked_accuracy.py",
    "cooccurrence.py",
    "head.py",
)
_PACKAGES = ("torch", "transformers", "tokenizers", "sentencepiece")


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of this sample; `make` fills a temporary one, which only then takes its place."""
    parent = cache_folder("sample", _recipe_hash())
    final = parent / name
    if not final.is_dir():
        part = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
        try:
            make(part)
            part.chmod(0o755)
            os.rename(part, final)
        except OSError:
            if not final.is_dir():  # else another process was first
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return final


def _recipe_hash() -> str:
    """Of all that shapes the files: our sources, with sizes and seeds in them, and the versions of the libraries."""
    package = Path(bistil_ds.__file__).parent
    sha = hashlib.sha256(repr([version(name) for name in _PACKAGES]).encode())
    for pattern in _SOURCES:
        for path in sorted(package.glob(pattern)):
            sha.update(path.read_bytes())
    return sha.hexdigest()[:16]
