"""The registry of distillation losses, and the values they take on one batch.

A loss of hidden states or attention maps is a `LossTerm` with a function `compute`. A loss of a model's outputs, such
as logits, is a `LossTerm` without one, because the distiller of its phase computes it. Each loss has an argument
`<name>_weight`.

Shapes: B batch, T tokens, D width, H heads, d head width, P pairs of states or of maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from bistil_ds.training.layer_losses import QueriesKeys, attention_terms, hidden_terms, relation_terms
from bistil_ds.training.schedule import LossWeight, LossWeights


@dataclass
class LayerView:
    """The tensors that the losses of states and maps compare on one batch. A loss may empty the lists that it reads.

    Attributes:
        student_states, teacher_states: a state [B, T, D] for each pair of states, of each model's own width.
        student_maps, teacher_maps: queries and keys [B, H, T, d] for each pair of maps; empty where nothing needs them.
            Keys may have fewer heads.
        windows: for each pair of maps, how many tokens away from a query its keys may be; None: all count.
        mask_BT: bool, True on real tokens; None means that no token is padding.
        projections: a matrix [teacher width, student width] for each pair of states, where the widths differ.
        losses: the loss arguments of the phase, read for `hidden_loss`, `attention_loss` and `published_losses`.
        student_related, teacher_related: queries, keys and values of the layers whose relations are compared; empty
            where nothing needs them.
        relation_heads: the number of heads that these are cut into.
    """

    student_states: list[Tensor]
    teacher_states: list[Tensor]
    student_maps: list[QueriesKeys]
    teacher_maps: list[QueriesKeys]
    windows: Sequence[int | None]
    mask_BT: Tensor | None
    projections: Sequence[Tensor] | None
    losses: Any
    student_related: list[Tensor] = field(default_factory=list)
    teacher_related: list[Tensor] = field(default_factory=list)
    relation_heads: int = 1

    def copy(self) -> LayerView:
        """Return a view of the same tensors with new lists, which a loss can empty without changing this view."""
        return replace(
            self,
            student_states=list(self.student_states),
            teacher_states=list(self.teacher_states),
            student_maps=list(self.student_maps),
            teacher_maps=list(self.teacher_maps),
        )


def _hidden(view: LayerView, weight: LossWeight) -> Tensor:
    mask_BT = None if view.losses.published_losses else view.mask_BT
    return hidden_terms(
        view.student_states, view.teacher_states, mask_BT, view.projections, weight, view.losses.hidden_loss
    )


def _attention(view: LayerView, weight: LossWeight) -> Tensor:
    kind, published = view.losses.attention_loss, view.losses.published_losses
    maps = view.student_maps, view.teacher_maps
    return attention_terms(*maps, view.mask_BT, kind, not published, weight, view.windows)


def _relation(view: LayerView, weight: LossWeight) -> Tensor:
    related, published = (view.student_related, view.teacher_related), view.losses.published_losses
    return relation_terms(*related, view.mask_BT, view.relation_heads, not published, weight)


@dataclass(frozen=True)
class LossTerm:
    """One loss of distillation.

    Attributes:
        name: its name in logs and records; the argument `<name>_weight` holds its weight.
        phases: the phases that have this loss: 1, 2 or both.
        compute: function (`LayerView`, weight of the mean in the total) → values [P]; None where the phase's distiller
            computes the loss.
        reads: what `compute` compares. A loss of "states" gives the whole encoder gradients. A loss of "maps" needs
            recorded queries and keys, and gives parameters after the last layer's queries and keys no gradient. One of
            "relations" needs recorded values too, and gives these a gradient. None without a `compute`.
    """

    name: str
    phases: tuple[int, ...]
    compute: Callable[[LayerView, LossWeight], Tensor] | None = None
    reads: Literal["states", "maps", "relations"] | None = None


# Losses are summed in this order.
TERMS = (
    LossTerm("hidden", (1, 2), _hidden, "states"),
    LossTerm("attention", (1, 2), _attention, "maps"),
    LossTerm("relation", (1,), _relation, "relations"),
    LossTerm("logit", (1, 2)),
    LossTerm("mlm", (1,)),
    LossTerm("label", (2,)),
    LossTerm("vector_cosine", (2,)),
    LossTerm("vector_mse", (2,)),
    LossTerm("similarity", (2,)),
)
# Phase 1 computes these measures in validation only. They are no part of the total. `cosine` is the similarity of
# states, where 1 is best. A loss, where less is better, needs another name.
MEASURED = ("cosine",)


def terms_of(phase: int) -> list[LossTerm]:
    """Return the losses of a phase, in the order of their sum."""
    return [term for term in TERMS if phase in term.phases]


@dataclass
class LossTerms:
    """The losses of one batch, fp32 on the model's device.

    Attributes:
        values: name → values of each used loss, [P] or a scalar; in validation also of those in `MEASURED`.
        total: the weighted sum of the losses' means.
    """

    values: dict[str, Tensor] = field(default_factory=dict)
    total: Tensor = field(default_factory=lambda: torch.zeros(()))

    def __getitem__(self, name: str) -> Tensor:
        return self.values[name]

    def add_up(self, weights: LossWeights) -> None:
        """Set the total, from the weight of each loss."""
        parts = [weights[term.name] * self.values[term.name].mean() for term in TERMS if term.name in self.values]
        self.total = torch.stack(parts).sum()

    def scalars(self) -> dict[str, Tensor]:
        """Return name → detached fp32 scalar: `loss` (the total), each term's mean, and `hidden_i` etc. for pair i."""
        named = {"loss": self.total.detach()}
        for name in (*(term.name for term in TERMS), *MEASURED):
            if name not in self.values:
                continue
            value = self.values[name].detach()
            named[name] = value.mean()
            if value.dim():
                named.update({f"{name}_{i}": one for i, one in enumerate(value)})
        return named
