"""How many heads the relations of MiniLMv2 are cut into."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from transformers import PretrainedConfig

from bistil_ds.errors import InputError

PUBLISHED_WIDTH = 16  # of a relation head: 48 heads at width 768


def relation_heads(wanted: int | None, configs: Sequence[PretrainedConfig]) -> int:
    """Return the number of relation heads for models of these configurations.

    Example:
        >>> from transformers import BertConfig
        >>> relation_heads(None, [BertConfig(hidden_size=384), BertConfig(hidden_size=768)])
        48

    Args:
        wanted: the number that the user gave; None: the largest that gives the teacher heads of 16 values or more.
        configs: those of the models, the teacher's last.

    Raises:
        InputError: the wanted number does not divide the width of queries, keys and values in each model.

    Source: MiniLMv2 (arXiv 2012.15828), section 4.1.
    """
    common = gcd(*(width for config in configs for width in _widths(config)))
    if wanted is None:
        most = max(1, _widths(configs[-1])[0] // PUBLISHED_WIDTH)
        return max(n for n in range(1, most + 1) if common % n == 0)
    if wanted < 1 or common % wanted:
        widths = " and ".join(str(width) for config in configs for width in dict.fromkeys(_widths(config)))
        raise InputError(f"--relation_heads {wanted}: does not divide the width {widths} of queries, keys and values")
    return wanted


def _widths(config: PretrainedConfig) -> tuple[int, int]:
    """Return the width of all heads' queries of a token, and that of its keys."""
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return heads * width, (getattr(config, "num_key_value_heads", None) or heads) * width
