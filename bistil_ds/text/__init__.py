"""Turn the text of a language, from a file or the hub, into packed chunks of token ids for training and validation."""

from bistil_ds.text.checks import check_chunks, check_different, check_text_file
from bistil_ds.text.loading import load_texts
from bistil_ds.text.packing import pack
from bistil_ds.text.split import split_validation
from bistil_ds.text.tokens import know_tokens

__all__ = [
    "check_chunks",
    "check_different",
    "check_text_file",
    "know_tokens",
    "load_texts",
    "pack",
    "split_validation",
]
