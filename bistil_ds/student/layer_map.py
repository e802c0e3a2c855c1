"""Choose the teacher layer that each student layer starts from (BiStil, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from transformers import PretrainedConfig

from bistil_ds.errors import InputError
from bistil_ds.models.families import FAMILIES, check_supported
from bistil_ds.models.transformers_4 import GLOBAL

DEFAULT_FACTOR = 2  # the k of a student whose depth nobody asked for


def choose_layers(
    config: PretrainedConfig,
    factor: int = DEFAULT_FACTOR,
    layer_map: Sequence[int] | None = None,
    *,
    keep_first: bool = False,
) -> list[int]:
    """Return the 0-based teacher layer of each student layer: `layer_map`, or the default map of every k-th layer.

    Args:
        config: the teacher's configuration.
        factor: k; if it divides the number of teacher layers, layer i of most families starts from teacher layer
            `(i + 1) * k - 1`. Otherwise see `even_map`.
        layer_map: the map to check and return, instead of the default.
        keep_first: spread as many layers as `factor` leaves evenly from the teacher's first to its last.

    Raises:
        InputError: the model type or the factor cannot be used; a factor other than the default or `keep_first` stands
            beside a map, where it has no effect; or the map is empty, not strictly increasing, out of
            range, or lacks a layer that the family needs.
    """
    check_supported(config)
    depth = config.num_hidden_layers
    if layer_map is None:
        if not 1 <= factor <= depth:
            raise InputError(f"layer_reduction_factor {factor}: expected 1 to {depth}, the teacher's number of layers")
        layers = even_map(config, max(1, _round(depth / factor)), keep_first=keep_first)
    else:
        if factor != DEFAULT_FACTOR:
            raise InputError(f"layer_reduction_factor {factor}: has no effect beside a layer map; leave one out")
        if keep_first:
            raise InputError("keep_first: has no effect beside a layer map; leave one out")
        layers = list(layer_map)
        if not layers:
            raise InputError("layer map is empty: give at least one teacher layer")
        if any(not 0 <= layer < depth for layer in layers):
            raise InputError(f"layer map {layers} leaves the teacher's layers: use indices from 0 to {depth - 1}")
        if any(later <= earlier for earlier, later in pairwise(layers)):
            raise InputError(f"layer map {layers} is not strictly increasing: give each teacher layer once, in order")
    _check_needed(config, layers)
    return layers


def even_map(config: PretrainedConfig, layers: int, *, keep_first: bool = False) -> list[int]:
    """Return a map of `layers` teacher layers, spread evenly and ending at the teacher's last layer.

    With `keep_first`, or if the first layer of the family must stay, the map starts at layer 0. It then has at least
    two layers, unless the teacher has only one. Places between two layers are rounded, halves up.
    """
    depth = config.num_hidden_layers
    if keep_first or FAMILIES[config.model_type].first_layer_stays:
        steps = max(layers, min(depth, 2)) - 1
        return [_round(i * (depth - 1) / steps) for i in range(steps)] + [depth - 1]
    return [_round((i + 1) * depth / layers) - 1 for i in range(layers)]


def every_kth(depth: int, factor: int) -> list[int]:
    """Return the published map, layer i from `(i + 1) * factor - 1`; `factor` must divide the teacher's `depth`."""
    return list(range(factor - 1, depth, factor))


def _check_needed(config: PretrainedConfig, layers: list[int]) -> None:
    """Raise InputError unless the map has the layers that a student of this family cannot do without."""
    family, kind, last = FAMILIES[config.model_type], config.model_type, config.num_hidden_layers - 1
    if family.first_layer_stays and layers[0] != 0:
        raise InputError(f"layer map {layers} lacks layer 0, from which alone the first layer of a {kind} can start")
    if family.pre_norm and layers[-1] != last:
        raise InputError(
            f"layer map {layers} lacks the last layer, {last}: the last state of a {kind} comes from a norm behind it, "
            "so only a student's last layer can be compared with it"
        )
    kinds = getattr(config, "layer_types", None)
    if kinds and GLOBAL in kinds and all(kinds[layer] != GLOBAL for layer in layers):
        everywhere = [layer for layer, each in enumerate(kinds) if each == GLOBAL]
        raise InputError(f"layer map {layers} has only layers of a sliding window: add one of {everywhere}")


def _round(value: float) -> int:
    return int(value + 0.5)
