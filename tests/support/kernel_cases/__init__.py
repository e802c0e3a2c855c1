"""Tests of operations that hold for the references, for the kernels under Triton's interpreter, and on a GPU."""

import pytest

NAMES = ("exactness", "hidden_state", "attention_map", "logits", "linear_logits", "entries", "adamw", "top_k")
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in NAMES))
