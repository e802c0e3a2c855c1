"""The loss of phase 2: a student imitates a task teacher on the task's data (BiStil, section 3.2).

Shapes: B batch, T tokens, N labelled positions, C classes, S student layers, Dt and Ds widths of teacher and student.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from bistil_kernels import distillation_kl
from torch import Tensor, nn
from transformers import PreTrainedModel

from bistil_ds.errors import InputError
from bistil_ds.tasks import Task
from bistil_ds.training.distiller import BaseDistiller, parse_weights
from bistil_ds.training.heap import trim_heap
from bistil_ds.training.layer_losses import padding_mask, take_recorded
from bistil_ds.training.schedule import Weight
from bistil_ds.training.terms import LayerView, LossTerms, terms_of
from bistil_ds.tuning.arguments import TaskLossArguments
from bistil_ds.tuning.vector_losses import VECTOR_LOSSES


def loss_weights(losses: object, task: Task) -> dict[str, Weight]:
    """Return the weight of each loss of phase 2, from the attributes `<name>_weight` of `losses`.

    Raises:
        InputError: a weight is neither a number nor FROM:TO; or the model or its head would learn nothing; or a loss
            of outputs that the task does not have was given a weight other than the default.
    """
    weights = parse_weights(losses, phase=2, outputs=task.losses)
    for term in terms_of(phase=2):
        weight = getattr(losses, flag := f"{term.name}_weight")
        if term.compute is None and term.name not in task.losses and weight != getattr(type(losses), flag, weight):
            raise InputError(f"--{flag} {weight}: --task {task.name} has no such loss; leave it out")
    if task.trains_head and not any(weights[name].used for name in task.losses):
        flags = " or ".join(f"{name}_weight" for name in task.losses)
        raise InputError(f"give {flags} a weight: the head learns from nothing else")
    return weights


class TaskDistiller(BaseDistiller):
    """The loss of phase 2 for one student and its task teacher, aligned layer by layer.

    Hidden states and attention maps are compared on real tokens, [CLS] and [SEP] among them. With `published_losses`,
    padding counts too, except as a key of attention. Logits are compared at labelled positions only: the loss is
    KL(teacher || student) at the temperature, without the usual factor temperature². If a task has several kinds of
    logits (start and end, arcs and relations), they count equally. Sentence vectors are compared by the losses of
    `vector_losses`.

    Args:
        student, teacher: models of one task with the same labels, on one vocabulary, with the same number of heads.
        task: the task of both models; it selects the logits that are compared.
        layer_map: for each student layer, the 0-based teacher layer with which it is aligned.
        losses: weights and kinds of the losses; default: those of `TaskLossArguments`.
        projections: fp32 [Dt, Ds] for each of the S+1 states; needed where the widths differ.
        run_teacher: the module to call in the teacher's place, such as the ZeRO-3 engine around it.

    Raises:
        InputError: from `loss_weights` and `BaseDistiller`.
    """

    phase = 2
    losses: TaskLossArguments

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
        losses = losses or TaskLossArguments()
        loss_weights(losses, task)
        super().__init__(student, teacher, layer_map, losses, projections, run_teacher, task.losses)
        self.task = task

    def __call__(self, model: nn.Module, batch: dict[str, Tensor], progress: float = 0.0) -> LossTerms:
        """Return the terms of one batch; `total` is the weighted sum of their means.

        Args:
            model: the student, or the engine wrapped around it.
            batch: the arguments of the model's forward, labels among them, as the task's `draw` returns them.
            progress: share of the training stage that is done (0 to 1), for scheduled weights.
        """
        mask_BT = padding_mask(batch.get("attention_mask"))
        weights = self.weights_at(progress)
        with torch.no_grad(), self.teacher_recorder or nullcontext():
            self.teacher.eval()
            seen = self.run_teacher(**batch, output_hidden_states=True)
        teacher_states = [seen.hidden_states[i] for i in self.aligned.teacher_states]
        teacher_logits = self.task.distilled_logits(seen, batch) if self.uses("logit") else []
        used = [name for name in VECTOR_LOSSES if self.uses(name)]
        teacher_vectors = self.task.distilled_vectors(seen, batch, of_teacher=True) if used else None
        del seen
        trim_heap(teacher_states[0])
        with self.student_recorder or nullcontext():
            output = model(**batch, output_hidden_states=True)
        terms = LossTerms()
        if self.uses("logit"):
            student_logits = self.task.distilled_logits(output, batch)
            terms.values["logit"] = torch.stack(
                [
                    distillation_kl(ours_NC, theirs_NC.to(ours_NC.dtype), temperature=self.losses.temperature)
                    for ours_NC, theirs_NC in zip(student_logits, teacher_logits, strict=True)
                ]
            ).mean()
        if self.uses("label"):
            terms.values["label"] = output.loss.float()
        if teacher_vectors is not None:
            vectors = self.task.distilled_vectors(output, batch, of_teacher=False), teacher_vectors
            temperature = self.losses.similarity_temperature
            terms.values |= {name: VECTOR_LOSSES[name](*vectors, temperature) for name in used}
        states = [output.hidden_states[i] for i in self.aligned.student_states]
        ours, theirs = (take_recorded(one).queries_keys for one in (self.student_recorder, self.teacher_recorder))
        layers = LayerView(states, teacher_states, ours, theirs, self.windows, mask_BT, self.projections, self.losses)
        self.add_layer_losses(terms, layers, weights)
        terms.add_up(weights)
        return terms
