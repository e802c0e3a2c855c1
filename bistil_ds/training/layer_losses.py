"""The layer-wise losses of both phases: which hidden states and attention maps are compared, and how.

Student state i (1..S) is aligned with teacher state `layer_map[i-1] + 1`, and state 0, the embeddings' output, with
teacher state 0. The attention map of student layer i (0..S-1) is aligned with that of teacher layer `layer_map[i]`.
Maps are compared from captured queries and keys and are never whole in memory (BiStil, section 3.1). The relations
between tokens (MiniLMv2) are compared in the same way, of the student's last layer and one teacher layer.

Shapes: B batch, T tokens, D width, H heads, d head width, S student layers, P pairs (of states or of maps).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from bistil_kernels import attention_map_loss, hidden_state_loss
from torch import Tensor

from bistil_ds.errors import InputError
from bistil_ds.models.attention import AttentionRecorder
from bistil_ds.training.heap import trim_heap
from bistil_ds.training.schedule import LossWeight

QueriesKeys = tuple[Tensor, Tensor]
NO_GRADIENT = (
    "the {} has no gradient: gradient checkpointing with use_reentrant=True, or a frozen student; use "
    "use_reentrant=False"
)


@dataclass(frozen=True)
class Alignment:
    """Indices of the aligned states (0: the embeddings' output) and layers (from 0) of student and teacher."""

    student_states: list[int]
    teacher_states: list[int]
    student_layers: list[int]
    teacher_layers: list[int]

    @classmethod
    def of(cls, layer_map: Sequence[int], last_only: bool = False) -> Alignment:
        """Return the alignment for a layer map (0-based teacher layers); with `last_only`, for its last layer alone."""
        depth = len(layer_map)
        if last_only:
            return cls([depth], [layer_map[-1] + 1], [depth - 1], [layer_map[-1]])
        return cls(
            list(range(depth + 1)), [0, *(layer + 1 for layer in layer_map)], list(range(depth)), list(layer_map)
        )


def _upstream(weight: LossWeight, pairs: Sequence[object]) -> float:
    """Return the gradient of the total loss at each pair's value, whose mean has this weight; 1 for weight 0.

    A weight whose value the host does not know counts as 1; the backward pass multiplies by what it is.
    """
    if isinstance(weight, Tensor):
        return 1.0 / len(pairs)
    return weight / len(pairs) if weight > 0 else 1.0


def hidden_terms(
    student: list[Tensor],
    teacher: list[Tensor],
    mask_BT: Tensor | None,
    projections: Sequence[Tensor] | None,
    weight: LossWeight,
    kind: str = "mse",
) -> Tensor:
    """Return the loss of each pair of states, in order, as fp32 [P]; on a CPU both lists are empty afterwards.

    Args:
        student, teacher: P tensors [B, T, D] each; D is each model's own width.
        mask_BT: bool, True on real tokens; None means that no token is padding.
        projections: P matrices [teacher width, student width], needed where the widths differ.
        weight: weight of the values' mean in the total loss. The forward pass already multiplies the gradients by it,
            which saves another pass over the gradients in backward.
        kind: "mse", or "cosine" for 1 − cosine.
    """
    upstream = _upstream(weight, student)
    if student[0].is_cuda:  # the kernel takes all pairs at once
        return hidden_state_loss(student, teacher, mask_BT, projections, kind, upstream=upstream)
    left, first = list(projections or []), student[0]
    values = []
    while student:  # pair by pair, so that each teacher state is freed after its pair
        projection = [left.pop(0)] if left else None
        pair = [student.pop(0)], [teacher.pop(0)]
        values.append(hidden_state_loss(*pair, mask_BT, projection, kind, upstream=upstream))
    trim_heap(first)
    return torch.cat(values)


def attention_terms(
    student: list[QueriesKeys],
    teacher: list[QueriesKeys],
    mask_BT: Tensor | None,
    kind: str,
    mask_queries: bool,
    weight: LossWeight,
    windows: Sequence[int | None] | None = None,
) -> Tensor:
    """Return the loss of each pair of maps, in order, as fp32 [P]; on a CPU both lists are empty afterwards.

    Args:
        student, teacher: P tuples (queries, keys) each, of tensors [B, H, T, d]; keys may have fewer heads.
        mask_BT: bool, True on real tokens; None means that no token is padding.
        kind: "mse" or "kl".
        mask_queries: True leaves padding out as queries too, not only as keys.
        weight: see `hidden_terms`.
        windows: for each pair, how many tokens away from a query its keys may be; None, also for a pair: all count.

    Raises:
        InputError: gradients are enabled, but none of the student's queries requires one.
    """
    if torch.is_grad_enabled() and not any(queries.requires_grad for queries, _ in student):
        raise InputError(NO_GRADIENT.format("attention loss"))
    how: dict[str, Any] = {"kind": kind, "mask_queries": mask_queries, "upstream": _upstream(weight, student)}
    if student[0][0].is_cuda:  # the kernel takes all pairs at once
        return attention_map_loss(student, teacher, mask_BT, windows=windows, **how)
    values, first = [], student[0][0]
    for window in windows or [None] * len(student):  # pair by pair, so that each pair's tensors are freed after it
        values.append(attention_map_loss([student.pop(0)], [teacher.pop(0)], mask_BT, windows=[window], **how))
    trim_heap(first)
    return torch.cat(values)


def relation_terms(
    student: list[Tensor],
    teacher: list[Tensor],
    mask_BT: Tensor | None,
    heads: int,
    mask_queries: bool,
    weight: LossWeight,
) -> Tensor:
    """Return the loss of the relations between queries, between keys and between values, fp32 [3].

    The relations of vectors x [T, d] are softmax(x xᵀ / √d), one map for each of `heads` relation heads; the vectors of
    a token's attention heads are joined and cut anew. A loss is the mean KL(teacher ‖ student) of a token's relations.

    Args:
        student, teacher: queries [B, H, T, d], keys and values [B, Hk, T, d], of one layer each.
        heads: number of relation heads; it divides H·d and Hk·d of both models.
        mask_BT, mask_queries, weight: see `attention_terms`.

    Source: MiniLMv2 (Wang et al., arXiv 2012.15828), section 3.1; their sum of the three losses is a mean here.
    """
    if torch.is_grad_enabled() and not student[0].requires_grad:
        raise InputError(NO_GRADIENT.format("relation loss"))
    ours, theirs = ([(x, x) for x in (_in_relation_heads(x, heads) for x in four)] for four in (student, teacher))
    return attention_map_loss(ours, theirs, mask_BT, "kl", mask_queries, _upstream(weight, ours))


def _in_relation_heads(x_BHTd: Tensor, heads: int) -> Tensor:
    """Return the vectors of all attention heads, cut into `heads` parts: [B, heads, T, H·d/heads]."""
    return x_BHTd.transpose(1, 2).flatten(2).unflatten(2, (heads, -1)).transpose(1, 2)


class Taken(NamedTuple):
    """What a recorder held: queries and keys of each pair of maps, and queries, keys and values for relations."""

    queries_keys: list[QueriesKeys]
    related: list[Tensor]


def take_recorded(recorder: AttentionRecorder | None) -> Taken:
    """Return what the recorder holds, and clear it; empty lists if there is no recorder."""
    if recorder is None:
        return Taken([], [])
    found = Taken(recorder.queries_keys, recorder.queries_keys_values)
    recorder.clear()
    return found


def padding_mask(mask: Tensor | None) -> Tensor | None:
    """Return a batch's mask as bool [B, T]; None means that no token is padding."""
    return None if mask is None else mask.bool()
