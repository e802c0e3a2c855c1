"""Layer selection: which teacher layer each student layer starts from (BiStil, section 3.1)."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, PretrainedConfig, PreTrainedModel

from bistil_ds.errors import InputError
from bistil_ds.models.families import family_of
from bistil_ds.models.inputs import without_dropout


def choose_layers(teacher_layers: int, factor: int = 2, layer_map: Sequence[int] | None = None) -> list[int]:
    """Return the 0-based teacher layer of each student layer: `layer_map`, or `(i + 1) * factor - 1` for layer i.

    Raises:
        InputError: the factor does not divide the number of teacher layers, or the map is empty, not strictly
            increasing, or out of range.
    """
    if layer_map is None:
        if factor < 1 or teacher_layers % factor:
            divisors = [k for k in range(1, teacher_layers + 1) if teacher_layers % k == 0]
            raise InputError(
                f"layer_reduction_factor {factor} does not divide the teacher's {teacher_layers} layers: "
                f"use one of {divisors} or give a layer map"
            )
        return list(range(factor - 1, teacher_layers, factor))
    chosen = list(layer_map)
    if not chosen:
        raise InputError("layer map is empty: give at least one teacher layer")
    if any(not 0 <= layer < teacher_layers for layer in chosen):
        raise InputError(f"layer map {chosen} leaves the teacher's layers: use indices from 0 to {teacher_layers - 1}")
    if any(later <= earlier for earlier, later in pairwise(chosen)):
        raise InputError(f"layer map {chosen} is not strictly increasing: give each teacher layer once, in order")
    return chosen


def student_config(teacher: PreTrainedModel, num_layers: int) -> PretrainedConfig:
    """Return a copy of the teacher's configuration with `num_layers` layers and no dropout."""
    config = copy.deepcopy(teacher.config)
    config.num_hidden_layers = num_layers
    without_dropout(config)
    return config


def selected_state(teacher: PreTrainedModel, layer_map: Sequence[int]) -> dict[str, Tensor]:
    """Copy the teacher's tensors under the student's names; teacher layer `layer_map[i]` becomes student layer i."""
    prefix = family_of(teacher).layers
    student_index = {layer: i for i, layer in enumerate(layer_map)}
    layer_name = re.compile(rf"{re.escape(prefix)}\.(\d+)\.(.*)")
    copies: dict[int, Tensor] = {}  # tied tensors are copied once
    state = {}
    for name, tensor in teacher.state_dict().items():
        if match := layer_name.fullmatch(name):
            layer, rest = int(match[1]), match[2]
            if layer not in student_index:
                continue
            name = f"{prefix}.{student_index[layer]}.{rest}"
        if tensor.data_ptr() not in copies:
            copies[tensor.data_ptr()] = tensor.clone()
        state[name] = copies[tensor.data_ptr()]
    return state


def assemble(config: PretrainedConfig, state: dict[str, Tensor], teacher: PreTrainedModel) -> PreTrainedModel:
    """Build a model in eval mode whose parameters are the tensors of `state`, not copies of them.

    The teacher gives the dtype and the buffers. No random number is drawn.
    """
    with torch.device("meta"):
        student = AutoModelForMaskedLM.from_config(config, dtype=teacher.dtype)
    student.load_state_dict(state, assign=True)
    student.tie_weights()
    # Buffers such as position ids are missing from `state`. The teacher's buffers can be used: they do not depend on
    # depth or width.
    for name, buffer in teacher.named_buffers():
        module, _, leaf = name.rpartition(".")
        setattr(student.get_submodule(module), leaf, buffer.clone())
    return student.eval()
