"""The loss of phase 2: a student imitates a task teacher on labelled data (BiStil, section 3.2).

Shapes: B batch, T tokens, N labelled positions, C classes, S student layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from bistil_kernels import distillation_kl
from torch import Tensor, nn
from transformers import PreTrainedModel

from bistil_ds.errors import InputError
from bistil_ds.models.attention import AttentionRecorder
from bistil_ds.tasks import Task
from bistil_ds.training.freed_memory import release_unused
from bistil_ds.training.layer_losses import Alignment, attention_terms, hidden_terms, padding_mask, taken
from bistil_ds.training.schedule import Weight
from bistil_ds.training.terms import Terms
from bistil_ds.tuning.arguments import TaskLossArguments

WEIGHTED = ("hidden", "attention", "logit", "label")


def loss_weights(losses: object, task: Task) -> dict[str, Weight]:
    """Return the weight of each loss, from the attributes `<name>_weight` of `losses` (names: `WEIGHTED`).

    Raises:
        InputError: a weight is no number or FROM:TO, or the model or its head would learn nothing from these weights.
    """
    weights = {name: Weight.parse(getattr(losses, f"{name}_weight"), f"{name}_weight") for name in WEIGHTED}
    if not any(weight.used for weight in weights.values()):
        raise InputError("all loss weights are 0: give at least one of " + ", ".join(WEIGHTED) + " a weight")
    if task.trains_head and not (weights["logit"].used or weights["label"].used):
        raise InputError("give logit_weight or label_weight a weight: the head learns from nothing else")
    return weights


class TaskDistiller:
    """The loss of phase 2 for one student and its task teacher, aligned layer by layer.

    States and maps are compared on real tokens, [CLS] and [SEP] among them; only with `published_losses` does padding
    count as well. Logits are compared at labelled positions only, as KL(teacher || student) at the temperature, without
    its square as a factor. Where a task has several logits (start and end, arcs and relations), they count equally.

    Args:
        student, teacher: models of one task with the same labels, on one vocabulary, with the same number of heads.
        task: what both models are for; it says which logits are compared.
        layer_map: for each student layer the 0-based teacher layer it is aligned with.
        losses: weights and kinds; default: those of `TaskLossArguments`.
        projections: fp32 [Dt, Ds] for each of the S+1 states when the widths differ.
        run_teacher: the module to call in the teacher's place, such as the ZeRO-3 engine around it.

    Raises:
        InputError: as `loss_weights`; with an attention loss, a model's attention cannot be observed.
    """

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        task: Task,
        layer_map: Sequence[int],
        losses: TaskLossArguments | None = None,
        projections: Sequence[Tensor] | None = None,
        run_teacher: nn.Module | None = None,
    ) -> None:
        self.losses = losses or TaskLossArguments()
        self.weights = loss_weights(self.losses, task)
        self.task, self.teacher = task, teacher
        self.run_teacher = teacher if run_teacher is None else run_teacher
        self.aligned = aligned = Alignment.of(layer_map, last_only=self.losses.align_layers == "last")
        self.projections = [projections[i] for i in aligned.student_states] if projections is not None else None
        self.student_recorder: AttentionRecorder | None = None
        self.teacher_recorder: AttentionRecorder | None = None
        if self.weights["attention"].used:  # a recorder needs a model that it supports, and keeps queries and keys
            self.student_recorder = AttentionRecorder(student, aligned.student_layers)
            self.teacher_recorder = AttentionRecorder(teacher, aligned.teacher_layers)
        teacher.eval().requires_grad_(False)

    def __call__(self, model: nn.Module, batch: dict[str, Tensor], progress: float = 0.0) -> Terms:
        """Return the terms of one batch; `total` is their weighted sum.

        Args:
            model: the student, or the engine wrapped around it.
            batch: what the task's `collate` returns: the arguments of the model's forward, labels among them.
            progress: share of the run done, for scheduled weights.
        """
        mask_BT = padding_mask(batch.get("attention_mask"))
        weights = {name: weight.at(progress) for name, weight in self.weights.items()}
        with torch.no_grad(), self.teacher_recorder or nullcontext():
            self.teacher.eval()
            seen = self.run_teacher(**batch, output_hidden_states=True)
        teacher_states = [seen.hidden_states[i] for i in self.aligned.teacher_states]
        teacher_logits = self.task.distilled_logits(seen, batch)
        del seen
        release_unused(teacher_states[0])
        with self.student_recorder or nullcontext():
            output = model(**batch, output_hidden_states=True)
        terms = Terms(total=torch.zeros(()))
        if self.weights["logit"].used:
            student_logits = self.task.distilled_logits(output, batch)
            terms.logit = torch.stack(
                [
                    distillation_kl(ours_NC, theirs_NC.to(ours_NC.dtype), temperature=self.losses.temperature)
                    for ours_NC, theirs_NC in zip(student_logits, teacher_logits, strict=True)
                ]
            ).mean()
        if self.weights["label"].used:
            terms.label = output.loss.float()
        if self.weights["hidden"].used:
            states = [output.hidden_states[i] for i in self.aligned.student_states]
            hidden_mask = None if self.losses.published_losses else mask_BT
            terms.hidden = hidden_terms(states, teacher_states, hidden_mask, self.projections, weights["hidden"])
        if self.weights["attention"].used:
            student_maps, teacher_maps = taken(self.student_recorder), taken(self.teacher_recorder)
            kind, published = self.losses.attention_loss, self.losses.published_losses
            how = kind, not published, weights["attention"]
            terms.attention = attention_terms(student_maps, teacher_maps, mask_BT, *how)
        named = {name: getattr(terms, name) for name in WEIGHTED}
        parts = [weights[name] * value.mean() for name, value in named.items() if value is not None]
        terms.total = torch.stack(parts).sum()
        return terms
