"""Trim the vocabulary of a multilingual model to the tokens of one or a few languages."""

from bistil_ds.vocabulary.counting import count_tokens
from bistil_ds.vocabulary.embeddings import trim_model
from bistil_ds.vocabulary.kept_ids import load_kept_ids, save_kept_ids
from bistil_ds.vocabulary.report import TrimReport
from bistil_ds.vocabulary.selection import select_ids
from bistil_ds.vocabulary.tokenizer import trim_tokenizer
from bistil_ds.vocabulary.trim import Trimmed, trim_vocabulary

__all__ = [
    "TrimReport",
    "Trimmed",
    "count_tokens",
    "load_kept_ids",
    "save_kept_ids",
    "select_ids",
    "trim_model",
    "trim_tokenizer",
    "trim_vocabulary",
]
