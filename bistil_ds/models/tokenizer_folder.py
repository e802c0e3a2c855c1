"""Save a tokenizer so that transformers 4 reads the same tokenizer from its files as transformers 5."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from bistil_ds.runs.files import write_whole

CONFIG = "tokenizer_config.json"
NAME_IN_4 = {"TokenizersBackend": "PreTrainedTokenizerFast"}  # the class that takes tokenizer.json as it is


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Write a tokenizer's files to `folder`, which is made when missing."""
    tokenizer.save_pretrained(folder)
    make_readable_by_4(tokenizer, Path(folder))


def make_readable_by_4(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Rewrite the `tokenizer_config.json` of a saved tokenizer in words that transformers 4 and 5 both know.

    The generic class gets the name that it has in 4 and, as an alias, in 5; classes of a model family have one name in
    both. Further special tokens get the key that 4 has for them, which 5 reads too. The names of the inputs are
    written out, because the generic class of 4 would add token types.
    """
    path = folder / CONFIG
    content = json.loads(path.read_text(encoding="utf-8"))
    named = content["tokenizer_class"]
    content["tokenizer_class"] = NAME_IN_4.get(named, named)
    content["model_input_names"] = list(tokenizer.model_input_names)
    if isinstance(content.get("extra_special_tokens"), list):
        content["additional_special_tokens"] = content.pop("extra_special_tokens")
    write_whole(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
