"""Record the queries and keys of chosen layers while a model computes its usual attention.

Shapes: B sequences, H heads, T tokens, d width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from bistil_ds.errors import InputError
from bistil_ds.models.families import SUPPORTED_MODEL_TYPES

IMPLEMENTATION = "bistil_recording"
_SINK, _SLOT = "_recorded_queries_keys", "_recorded_slot"


class AttentionRecorder:
    """Recorder of the queries and keys of `layers` of one model, for the attention-map loss.

    The recorder replaces the model's attention by a function that computes the same as SDPA and can record its queries
    and keys. It records only the first forward pass inside each `with recorder:` block: neither later passes nor the
    recomputation of gradient checkpointing. Gradients flow through the recorded tensors. The model may be wrapped (DDP,
    DeepSpeed) after the recorder is made.

    Args:
        model: the model itself, not its wrapper: an encoder that calls its attention through `AttentionInterface` of
            transformers.
        layers: indices of self-attention layers; layer 0 follows the embeddings.

    Raises:
        InputError: the architecture does not use that interface (DeBERTa-v2), or the model lacks a layer.
    """

    def __init__(self, model: PreTrainedModel, layers: Sequence[int]) -> None:
        modules = self_attentions(model)
        if wrong := [i for i in layers if not 0 <= i < len(modules)]:
            raise InputError(f"attention layers {wrong} do not exist: the model has layers 0 to {len(modules) - 1}")
        self.layers = list(layers)
        self._modules = [modules[i] for i in layers]
        self._sink: dict[int, tuple[Tensor, Tensor]] = {}
        AttentionInterface.register(IMPLEMENTATION, _recording_attention)
        AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)  # without it, transformers drops the padding mask
        model.set_attn_implementation(IMPLEMENTATION)

    def __enter__(self) -> AttentionRecorder:
        self._sink = {}
        for slot, module in enumerate(self._modules):
            setattr(module, _SLOT, slot)
            setattr(module, _SINK, self._sink)
        return self

    def __exit__(self, *exception: object) -> None:
        for module in self._modules:
            delattr(module, _SINK)
            delattr(module, _SLOT)

    @property
    def queries_keys(self) -> list[tuple[Tensor, Tensor]]:
        """Return the (queries, keys) that the last `with` block recorded, for each layer in the order of `layers`.

        Each is [B, H, T, d] in the model's dtype.
        """
        return [self._sink[slot] for slot in range(len(self.layers))]

    def clear(self) -> None:
        """Release the recorded tensors."""
        self._sink = {}


def self_attentions(model: PreTrainedModel) -> list[nn.Module]:
    """Return the model's self-attention modules, in order.

    Raises:
        InputError: the architecture does not let its attention be captured.
    """
    modules = [m for m in model.modules() if type(m).__name__.endswith("SelfAttention")]
    if not modules or not model._can_set_attn_implementation():
        raise InputError(
            f"model type {model.config.model_type!r} does not let its attention be observed: use a model of one of the "
            f"types {', '.join(SUPPORTED_MODEL_TYPES)}, or turn the attention loss off"
        )
    return modules


def _recording_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    sink = getattr(module, _SINK, None)
    if sink is not None:
        slot = getattr(module, _SLOT)
        if slot not in sink:  # later passes and recomputation are not recorded
            sink[slot] = (query, key)
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
