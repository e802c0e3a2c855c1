"""Check whether a teacher can be distilled into a student that the user brings."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from transformers import PreTrainedModel

from bistil_ds.errors import InputError
from bistil_ds.models.families import FAMILIES
from bistil_ds.student.layer_map import choose_layers, even_map


def check_student(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    layer_map: Sequence[int] | None = None,
    projections: Sequence[Tensor] | None = None,
) -> list[int]:
    """Check that the student fits the teacher, and return the layer map to distil with.

    Args:
        layer_map: the 0-based teacher layer of each student layer. None means the even map (see `even_map`).
        projections: an fp32 matrix [teacher width, student width] for each state of the student; needed if the widths
            differ.

    Raises:
        InputError: vocabularies, heads, depths, widths or projections do not fit together.
    """
    ours, theirs = student.config, teacher.config
    for name, what in (("vocab_size", "tokens"), ("num_attention_heads", "attention heads")):
        if getattr(ours, name) != getattr(theirs, name):
            raise InputError(
                f"student has {getattr(ours, name)} {what}, the teacher {getattr(theirs, name)}: "
                f"give a student with the teacher's number of {what}"
            )
    depth, teacher_depth = ours.num_hidden_layers, theirs.num_hidden_layers
    if depth > teacher_depth:
        raise InputError(f"student has {depth} layers, the teacher {teacher_depth}: give a student of at most as many")
    if layer_map is None and teacher_depth % depth:
        raise InputError(
            f"student's {depth} layers do not divide the teacher's {teacher_depth}: give a layer map of {depth} layers"
        )
    layers = choose_layers(theirs, layer_map=even_map(theirs, depth) if layer_map is None else layer_map)
    if len(layers) != depth:
        raise InputError(f"layer map {layers} names {len(layers)} layers, the student has {depth}: name one for each")
    for name in FAMILIES[theirs.model_type].per_layer:
        wanted = [getattr(theirs, name)[layer] for layer in layers]
        if (found := getattr(ours, name, None)) != wanted:
            raise InputError(
                f"student's {name} are {found}, those of the teacher's layers {layers} are {wanted}: give a student or "
                "a layer map with the same"
            )
    _check_width(ours.hidden_size, theirs.hidden_size, len(layers) + 1, projections)
    return layers


def _check_width(width: int, teacher_width: int, states: int, projections: Sequence[Tensor] | None) -> None:
    if projections is None:
        if width != teacher_width:
            raise InputError(
                f"student is {width} wide, the teacher {teacher_width}, and the student has no projections: "
                f"build it with hidden_reduction_factor, or give one of the teacher's width"
            )
        return
    shapes = [tuple(projection.shape) for projection in projections]
    if shapes != [(teacher_width, width)] * states:
        raise InputError(
            f"student's projections have the shapes {sorted(set(shapes))} for {len(shapes)} states, expected "
            f"{(teacher_width, width)} for {states}: they belong to another student or teacher"
        )
