"""Test that saved tokenizers are the same when loaded, and say so in words that transformers 4 knows.

`tests/export/test_transformers_4.py` loads them with transformers 4.57.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from programs.outputs_of_folders import of_tokenizer, outputs_of
from reading_code.import_graph import ROOT
from tiny import unigram_tokenizer
from tokenizer_kinds.other_tokenizers import byte_level_tokenizer, every_tokenizer
from transformers import AutoTokenizer, CanineTokenizer, PreTrainedTokenizerFast

from bistil_ds.models.tokenizer_folder import CONFIG, save_tokenizer, start_with_space

TOKENIZERS = every_tokenizer()


@pytest.mark.parametrize("name", list(TOKENIZERS))
def test_a_saved_tokenizer_is_the_same_when_loaded(name: str, tmp_path: Path) -> None:
    save_tokenizer(TOKENIZERS[name], tmp_path)
    assert of_tokenizer(str(tmp_path)) == outputs_of(TOKENIZERS[name])


@pytest.mark.parametrize("name", list(TOKENIZERS))
def test_its_configuration_has_what_transformers_4_reads(name: str, tmp_path: Path) -> None:
    save_tokenizer(TOKENIZERS[name], tmp_path / "once")
    save_tokenizer(AutoTokenizer.from_pretrained(tmp_path / "once"), tmp_path / "twice")
    for folder in ("once", "twice"):
        content = json.loads((tmp_path / folder / CONFIG).read_text())
        assert content["tokenizer_class"] == "PreTrainedTokenizerFast"
        assert content["model_input_names"] == TOKENIZERS[name].model_input_names
        assert content["clean_up_tokenization_spaces"] is False  # transformers before 4.45 would say True
        assert "extra_special_tokens" not in content  # transformers 4 wants a mapping there
        assert ("<entity>" in content.get("additional_special_tokens", [])) == ("added" in name)


class CutFromTheLeft(PreTrainedTokenizerFast):
    """A tokenizer whose class, like XLNet's, sets the sides of padding and truncation."""

    padding_side = truncation_side = "left"


def test_the_sides_of_its_class_are_kept(tmp_path: Path) -> None:
    save_tokenizer(CutFromTheLeft(tokenizer_object=unigram_tokenizer().backend_tokenizer), tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert (loaded.padding_side, loaded.truncation_side) == ("left", "left")


def test_starting_with_a_space_leaves_the_other_settings() -> None:
    tokenizer = byte_level_tokenizer()
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(7)
    backend.enable_padding(length=7)
    truncation, padding = backend.truncation, backend.padding
    assert None not in (truncation, padding)
    start_with_space(tokenizer)
    assert backend.normalizer is not None
    assert (backend.truncation, backend.padding) == (truncation, padding)


def test_a_tokenizer_in_python_keeps_its_class(tmp_path: Path) -> None:
    tokenizer = CanineTokenizer()
    save_tokenizer(tokenizer, tmp_path)
    assert json.loads((tmp_path / CONFIG).read_text())["tokenizer_class"] == "CanineTokenizer"
    assert AutoTokenizer.from_pretrained(tmp_path)("ab")["input_ids"] == tokenizer("ab")["input_ids"]


def test_tokenizers_are_saved_here_only() -> None:
    """`trim_tokenizer` saves one too, in a temporary folder that it loads again."""
    others = set()
    for path in (ROOT / "bistil_ds").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "save_pretrained":
                saved = ast.unparse(node.value).rpartition(".")[2]
                if saved not in ("model", "student", "encoder"):
                    others.add((path.relative_to(ROOT).as_posix(), saved))
    assert others == {
        ("bistil_ds/models/tokenizer_folder.py", "tokenizer"),
        ("bistil_ds/vocabulary/tokenizer.py", "tokenizer"),
    }
