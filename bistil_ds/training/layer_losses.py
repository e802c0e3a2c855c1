"""The layer-wise losses both phases share: which states and maps are aligned, and how they are compared.

Aligned states 0..S: student state i with teacher state `layer_map[i-1] + 1`, state 0 being the embedding output.
Attention maps: student layer i with teacher layer `layer_map[i]`, compared from captured queries and keys and never
written to memory (BiStil, section 3.1).

Shapes: B batch, T tokens, D width, H heads, d head width, S student layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from bistil_kernels import attention_map_loss, hidden_state_loss
from torch import Tensor

from bistil_ds.errors import InputError
from bistil_ds.models.attention import AttentionRecorder
from bistil_ds.training.freed_memory import release_unused

QueriesKeys = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Alignment:
    """Indices of the aligned states (0: embeddings) and layers of student and teacher."""

    student_states: list[int]
    teacher_states: list[int]
    student_layers: list[int]
    teacher_layers: list[int]

    @classmethod
    def of(cls, layer_map: Sequence[int], last_only: bool = False) -> Alignment:
        """From each student layer's 0-based teacher layer; `last_only` keeps the last state and map alone."""
        depth = len(layer_map)
        if last_only:
            return cls([depth], [layer_map[-1] + 1], [depth - 1], [layer_map[-1]])
        return cls(
            list(range(depth + 1)), [0, *(layer + 1 for layer in layer_map)], list(range(depth)), list(layer_map)
        )


def _upstream(weight: float, pairs: Sequence[object]) -> float:
    """The gradient of each of so many terms whose mean has this weight in the total."""
    return weight / len(pairs) if weight > 0 else 1.0


def hidden_terms(
    student: list[Tensor],
    teacher: list[Tensor],
    mask_BT: Tensor | None,
    projections: Sequence[Tensor] | None,
    weight: float,
) -> Tensor:
    """fp32 [P]: the MSE of each pair of states [B, T, D], in order. On a CPU both lists are empty afterwards.

    weight: of their mean in the total; known beforehand, it saves a pass over the gradients.
    """
    upstream = _upstream(weight, student)
    if student[0].is_cuda:  # one launch for all pairs
        return hidden_state_loss(student, teacher, mask_BT, projections, upstream=upstream)
    left, first = list(projections or []), student[0]
    values = []
    while student:  # pair by pair, so that a teacher state is freed once its gradient is known
        projection = [left.pop(0)] if left else None
        values.append(hidden_state_loss([student.pop(0)], [teacher.pop(0)], mask_BT, projection, upstream=upstream))
    release_unused(first)
    return torch.cat(values)


def attention_terms(
    student: list[QueriesKeys],
    teacher: list[QueriesKeys],
    mask_BT: Tensor | None,
    kind: str,
    mask_queries: bool,
    weight: float,
) -> Tensor:
    """fp32 [P]: the loss of each pair of maps, from queries and keys [B, H, T, d]. Lists and weight as in
    `hidden_terms`.

    Raises:
        InputError: the student's queries carry no gradient.
    """
    if torch.is_grad_enabled() and not any(queries.requires_grad for queries, _ in student):
        raise InputError(
            "the attention loss has no gradient: gradient checkpointing with use_reentrant=True, or a frozen "
            "student; use use_reentrant=False"
        )
    how: dict[str, Any] = {"kind": kind, "mask_queries": mask_queries, "upstream": _upstream(weight, student)}
    if student[0][0].is_cuda:  # one launch for all pairs
        return attention_map_loss(student, teacher, mask_BT, **how)
    values, first = [], student[0][0]
    while student:  # pair by pair, so that a teacher pair is freed once its gradient is known
        values.append(attention_map_loss([student.pop(0)], [teacher.pop(0)], mask_BT, **how))
    release_unused(first)
    return torch.cat(values)


def taken(recorder: AttentionRecorder | None) -> list[QueriesKeys]:
    """What the recorder holds, no longer held by it; nothing where there is none."""
    if recorder is None:
        return []
    found = recorder.queries_keys
    recorder.clear()
    return found


def padding_mask(mask: Tensor | None) -> Tensor | None:
    """A batch's mask as bool [B, T]; a batch without one is of real tokens only, found out without a look at them."""
    return None if mask is None else mask.bool()
