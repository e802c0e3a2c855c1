"""Tests of an operation that hold for its reference, under Triton's interpreter and on a GPU alike."""

import pytest

NAMES = ("exactness", "hidden_state", "attention_map", "logits", "linear_logits", "entries", "adamw", "top_k")
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in NAMES))
