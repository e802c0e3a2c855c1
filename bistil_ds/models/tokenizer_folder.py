"""Save a tokenizer so that all versions of transformers since 4.40 read the same tokenizer from its files.

A tokenizer of a task with words can be made to cut the first word of a text as it cuts the others.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Regex, normalizers
from transformers import PreTrainedTokenizerBase

from bistil_ds.runs.files import write_whole

CONFIG, WHOLE = "tokenizer_config.json", "tokenizer.json"
WRITTEN_OUT = ("model_input_names", "clean_up_tokenization_spaces", "padding_side", "truncation_side")
READS_WHOLE = "PreTrainedTokenizerFast"  # transformers 4's name; in 5, an alias of TokenizersBackend


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Write a tokenizer's files to `folder`; make the folder if it is missing."""
    tokenizer.save_pretrained(folder)
    make_portable(tokenizer, Path(folder))


def make_portable(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Rewrite the `tokenizer_config.json` of a tokenizer that was saved in `folder`, so that all versions agree on it.

    - The class becomes `PreTrainedTokenizerFast`, which takes `tokenizer.json` as it is. A model family's own class
      would rebuild parts of the tokenizer, and differently in each version. Transformers 5 would write a name of the
      generic class that transformers 4 does not know.
    - Special tokens beyond the usual ones get the key of transformers 4, which transformers 5 reads too.
    - The names of the inputs and whether decoding removes spaces before punctuation are written out, because their
      defaults differ between versions; the sides of padding and truncation, because they may be the class's own.
    """
    path = folder / CONFIG
    content = json.loads(path.read_text(encoding="utf-8"))
    if (folder / WHOLE).is_file():  # tokenizers written in Python have no such file
        content["tokenizer_class"] = READS_WHOLE
    if isinstance(content.get("extra_special_tokens"), list):
        content["additional_special_tokens"] = content.pop("extra_special_tokens")
    for name in WRITTEN_OUT:
        content[name] = getattr(tokenizer, name)
    write_whole(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def start_with_space(tokenizer: PreTrainedTokenizerBase) -> None:
    """Let a tokenizer put a space before a text that does not begin with one.

    Byte-level and Gemma's tokenizers distinguish " word" from "word". Tasks with words cut each word as " word" (see
    `bistil_ds.tasks.words`), also the first one of a sentence. Other tokenizers, which do not, are not changed.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.encode("a").ids == backend.encode(" a").ids:  # called, it would lose its settings
        return
    # `Replace` must match a character: with r"\A(?! )", tokenizers 0.23 panics in the next step
    steps = [normalizers.Prepend(" "), normalizers.Replace(Regex(r"\A  "), " ")]
    backend.normalizer = normalizers.Sequence([*steps, *([backend.normalizer] if backend.normalizer else [])])
