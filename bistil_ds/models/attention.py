"""Record the queries, keys and values of chosen layers while a model computes its usual attention.

Shapes: B sequences, H heads, Hk heads of keys, T tokens, d width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PretrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from bistil_ds.errors import InputError
from bistil_ds.models.families import FAMILIES

IMPLEMENTATION = "bistil_recording"
_SINK, _SLOT, _VALUES = "_recorded_attention", "_recorded_slot", "_recorded_values"

Recorded = tuple[Tensor, Tensor, Tensor | None]  # queries, keys, values


class AttentionRecorder:
    """Recorder of the queries and keys of `layers` of one model, for the attention-map loss, and of values.

    The recorder replaces the model's attention by a function that computes the same as SDPA and can record its queries
    and keys (after rotary positions, where the model has them) and its values. It records only the first forward pass
    inside each `with recorder:` block: neither later passes nor the recomputation of gradient checkpointing. Gradients
    flow through the recorded tensors. The model may be wrapped (DDP, DeepSpeed) after the recorder is made.

    Args:
        model: the model itself, not its wrapper: an encoder that calls its attention through `AttentionInterface` of
            transformers.
        layers: indices of self-attention layers; layer 0 follows the embeddings.
        related: the layer whose queries, keys and values are recorded for their relations; None: there is none.

    Attributes:
        windows: for each of `layers`, how many tokens away from a query its keys may be; None if it sees all.

    Raises:
        InputError: the architecture does not use that interface (DeBERTa-v2), or the model lacks a layer.
    """

    def __init__(self, model: PreTrainedModel, layers: Sequence[int], related: int | None = None) -> None:
        modules = self_attentions(model)
        recorded = list(dict.fromkeys([*layers, *([] if related is None else [related])]))
        if wrong := [i for i in recorded if not 0 <= i < len(modules)]:
            raise InputError(f"attention layers {wrong} do not exist: the model has layers 0 to {len(modules) - 1}")
        self.layers, self.related = list(layers), related
        self.windows = [attention_window(model.config, i) for i in layers]
        self._modules = {i: modules[i] for i in recorded}
        self._sink: dict[int, Recorded] = {}
        AttentionInterface.register(IMPLEMENTATION, _recording_attention)
        AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)  # without it, transformers drops the padding mask
        model.set_attn_implementation(IMPLEMENTATION)

    def __enter__(self) -> AttentionRecorder:
        self._sink = {}
        for layer, module in self._modules.items():
            setattr(module, _SLOT, layer)
            setattr(module, _VALUES, layer == self.related)
            setattr(module, _SINK, self._sink)
        return self

    def __exit__(self, *exception: object) -> None:
        for module in self._modules.values():
            for name in (_SINK, _SLOT, _VALUES):
                delattr(module, name)

    @property
    def queries_keys(self) -> list[tuple[Tensor, Tensor]]:
        """Return the (queries, keys) that the last `with` block recorded, for each layer in the order of `layers`.

        Queries are [B, H, T, d] and keys [B, Hk, T, d] in the model's dtype; H/Hk heads of queries share a key head.
        """
        return [self._sink[layer][:2] for layer in self.layers]

    @property
    def queries_keys_values(self) -> list[Tensor]:
        """Return queries, keys and values of the layer `related`, as the last `with` block recorded them.

        Values have the shape of keys. The list is empty if no layer is `related`.
        """
        return [] if self.related is None else [x for x in self._sink[self.related] if x is not None]

    def clear(self) -> None:
        """Release the recorded tensors."""
        self._sink = {}


def is_attention_observable(model: PreTrainedModel) -> bool:
    """Return whether the queries and keys of this model's attention can be recorded; DeBERTa-v2's cannot."""
    return model._can_set_attn_implementation() and bool(_attention_modules(model))


def self_attentions(model: PreTrainedModel) -> list[nn.Module]:
    """Return the model's self-attention modules, in order.

    Raises:
        InputError: the architecture does not let its attention be captured.
    """
    if not is_attention_observable(model):
        observable = [kind for kind, family in FAMILIES.items() if family.maps_observable]
        raise InputError(
            f"model type {model.config.model_type!r} does not let its attention be observed: use a model of one of the "
            f"types {', '.join(observable)}, or turn the attention loss off"
        )
    return _attention_modules(model)


def _attention_modules(model: PreTrainedModel) -> list[nn.Module]:
    """Return the modules called ...Attention that contain no other such module: one a layer, in order."""
    found = [m for m in model.modules() if type(m).__name__.endswith("Attention")]
    return [m for m in found if not any(inner in found for inner in m.modules() if inner is not m)]


def attention_window(config: PretrainedConfig, layer: int) -> int | None:
    """Return how many tokens away from a query layer `layer` sees keys, the query's own not counted; None: all.

    transformers' masks for encoders include both ends: a key is seen if |query − key| ≤ `config.sliding_window`.
    """
    kinds = getattr(config, "layer_types", None)
    return int(config.sliding_window) if kinds is not None and kinds[layer] == "sliding_attention" else None


def _recording_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    sink = getattr(module, _SINK, None)
    if sink is not None:
        slot = getattr(module, _SLOT)
        if slot not in sink:  # later passes and recomputation are not recorded
            sink[slot] = (query, key, value if getattr(module, _VALUES) else None)
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
