"""Let transformers 4 read the configuration of a ModernBERT model as transformers 5 does, or else fail."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PretrainedConfig

GLOBAL, LOCAL = "full_attention", "sliding_attention"  # kinds of layers: attention to all tokens, to those in a window


def keep_readable(config: PretrainedConfig) -> None:
    """Add to a ModernBERT configuration, in place, the values that transformers 4 reads; leave others unchanged.

    Transformers 5 writes `layer_types` and `rope_parameters`. Transformers 4 ignores both. It reads the bases of the
    rotary positions from `global_rope_theta` and `local_rope_theta`, and takes every n-th layer, from the first, as
    global: n is `global_attn_every_n_layers`. Where it cannot build the same model from these, n becomes None, with
    which it raises TypeError. Transformers 5 does not read n beside `layer_types`.
    """
    if config.model_type != "modernbert":
        return
    rope = config.rope_parameters
    config.global_rope_theta, config.local_rope_theta = (rope[kind]["rope_theta"] for kind in (GLOBAL, LOCAL))
    plain = all(rope[kind]["rope_type"] == "default" for kind in (GLOBAL, LOCAL))
    config.global_attn_every_n_layers = _period(config.layer_types) if plain else None


def _period(layer_types: Sequence[str]) -> int | None:
    """Return n if exactly every n-th layer, from the first, is global; None if there is no such n."""
    layers = [layer for layer, kind in enumerate(layer_types) if kind == GLOBAL]
    period = layers[1] if len(layers) > 1 else len(layer_types)
    return period if layers == list(range(0, len(layer_types), period)) else None
