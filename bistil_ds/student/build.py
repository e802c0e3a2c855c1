"""Build a small encoder that starts from the teacher's weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor
from transformers import PreTrainedModel

from bistil_ds.errors import InputError
from bistil_ds.student.layer_map import DEFAULT_FACTOR, choose_layers
from bistil_ds.student.layers import assemble, selected_state, shallow_config
from bistil_ds.student.width import narrow_config, reduce_width


class Built(NamedTuple):
    """Result of `build_student`.

    Attributes:
        student: the new model.
        layer_map: for each student layer, the 0-based teacher layer that it started from.
        projections: an fp32 matrix [teacher width, student width] for each state of the student (layers + 1); None at
            equal width.
    """

    student: PreTrainedModel
    layer_map: list[int]
    projections: list[Tensor] | None


def build_student(
    teacher: PreTrainedModel,
    *,
    layer_reduction_factor: int = DEFAULT_FACTOR,
    layer_map: Sequence[int] | None = None,
    keep_first: bool = False,
    hidden_reduction_factor: int = 1,
    sample_batches: Iterable[Mapping[str, Tensor]] | None = None,
    progress: bool = True,
) -> Built:
    """Build a student of the teacher's model type, with every k-th of the teacher's layers and no dropout.

    Example:
        >>> from bistil_ds import build_student
        >>> build_student(teacher, layer_reduction_factor=2).layer_map  # a teacher of four layers
        [1, 3]

    At equal width, embeddings, the chosen layers and the head are exact copies. A `hidden_reduction_factor` f
    above 1 divides the widths of hidden states, attention heads and feed-forward layers by f; the number of attention
    heads stays. Every matrix is then fitted on `sample_batches`, so that the student imitates the projected teacher.

    The student is in eval mode, has the teacher's dtype and device, and shares no storage with the teacher. Build the
    student before you make a ZeRO-3 configuration, because a teacher that ZeRO-3 has partitioned has empty weights.

    Args:
        teacher: a loaded model of one of `SUPPORTED_MODEL_TYPES`, with a masked-LM head or without one. Widths can be
            reduced for BERT, RoBERTa and XLM-R, of other models only the number of layers.
        layer_reduction_factor: k; student layer i starts from teacher layer `(i + 1) * k - 1`. If k does not divide the
            number of layers, or if layer 0 must stay (ModernBERT), the layers are spread evenly (see `even_map`).
        layer_map: the teacher layer of each student layer, 0-based and strictly increasing; it stands in place of k.
        keep_first: spread as many layers as k leaves evenly from the teacher's first to its last.
        sample_batches: text to fit on, needed for f > 1: dicts with `input_ids` int64 [batch, tokens] and, where there
            is padding, `attention_mask` int64 [batch, tokens].
        progress: show bars while a narrower student is fitted.

    Returns:
        The student, its layer map, and, if the student is narrower, the projections of the teacher's states.

    Raises:
        InputError: the model type, a factor, the layer map or the sample cannot be used.

    Source: BiStil (arXiv 2306.01709), section 3.1.
    """
    layers = choose_layers(teacher.config, layer_reduction_factor, layer_map, keep_first=keep_first)
    config = shallow_config(teacher.config, layers)
    if hidden_reduction_factor == 1:
        return Built(assemble(config, selected_state(teacher, layers), teacher), layers, None)
    narrow_config(config, hidden_reduction_factor)
    if sample_batches is None:
        raise InputError("hidden_reduction_factor above 1 needs sample_batches: texts to fit the projections on")
    state, projections = reduce_width(teacher, config, layers, sample_batches, progress)
    return Built(assemble(config, state, teacher), layers, projections)
