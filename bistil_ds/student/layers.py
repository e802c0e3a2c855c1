"""Make a model of some of the teacher's layers: its configuration, its tensors, and the model itself."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForMaskedLM, PretrainedConfig, PreTrainedModel

from bistil_ds.models.families import FAMILIES, POOLER, family_of, has_masked_lm_head
from bistil_ds.models.inputs import without_dropout
from bistil_ds.models.parameters import save_under_own_names
from bistil_ds.models.transformers_4 import keep_readable


def shallow_config(teacher: PretrainedConfig, layer_map: Sequence[int]) -> PretrainedConfig:
    """Return a copy of the teacher's configuration with only the layers of `layer_map` (0-based), and no dropout."""
    config = copy.deepcopy(teacher)
    config.num_hidden_layers = len(layer_map)
    for name in FAMILIES[config.model_type].per_layer:
        setattr(config, name, [getattr(teacher, name)[layer] for layer in layer_map])
    without_dropout(config)
    keep_readable(config)
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

    The teacher gives the architecture (with a masked-LM head, a pooler, or neither), the dtype and the buffers. No
    random number is drawn.
    """
    kind = AutoModelForMaskedLM if has_masked_lm_head(teacher) else AutoModel
    with torch.device("meta"):
        student = kind.from_config(config, dtype=teacher.dtype)
    if getattr(teacher, POOLER, None) is None and hasattr(student, POOLER):
        student.pooler = None
    save_under_own_names(student)
    student.load_state_dict(state, assign=True)
    student.tie_weights()
    # Buffers such as position ids are missing from `state`. The teacher's buffers can be used: they do not depend on
    # depth or width.
    of_teacher = dict(teacher.named_buffers())
    for name in [name for name, _ in student.named_buffers()]:
        module, _, leaf = name.rpartition(".")
        setattr(student.get_submodule(module), leaf, of_teacher[name].clone())
    return student.eval()
