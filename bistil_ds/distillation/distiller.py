"""The loss of phase 1: run teacher and student on a batch and sum the weighted terms (BiStil, section 3.1).

`bistil_ds.training.layer_losses` says which states and maps are compared, and how.

Shapes: B batch, T tokens, D width (Dt teacher's, Ds student's), H heads, d head width, S student layers, N masked
positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass

import torch
from bistil_kernels import hidden_state_loss, linear_distillation_kl
from torch import Tensor, nn
from transformers import PreTrainedModel

from bistil_ds.distillation.arguments import LossArguments
from bistil_ds.distillation.relation_heads import relation_heads
from bistil_ds.distributed.gathering import gathered
from bistil_ds.errors import InputError
from bistil_ds.models.families import family_of, has_masked_lm_head, layers_of
from bistil_ds.models.head import HeadTap, flat_positions, head_parameters
from bistil_ds.training.distiller import BaseDistiller
from bistil_ds.training.heap import trim_heap
from bistil_ds.training.layer_losses import Taken, padding_mask, take_recorded
from bistil_ds.training.schedule import LossWeights
from bistil_ds.training.terms import LayerView, LossTerms

Vocabulary = tuple[Tensor, Tensor, Tensor | None]


@dataclass
class TeacherView:
    """The results of one teacher forward pass that the losses need.

    Attributes:
        hidden: the teacher's state [B, T, Dt] of each pair of states.
        taken: the teacher's queries and keys, [B, H, T, d], of each pair of attention maps, and its values where there
            is a relation loss.
        vocabulary: inputs of the output projection at the masked positions; None without a logit loss or labels.
    """

    hidden: list[Tensor]
    taken: Taken
    vocabulary: Vocabulary | None = None  # hidden [N, Dt], weight [V, Dt], bias [V]


class Distiller(BaseDistiller):
    """The loss of phase 1 for one student and one teacher, whose layers are aligned.

    The teacher is frozen, and so are the student's parameters that no loss reaches.

    Args:
        student, teacher: models on one vocabulary, with the same number of attention heads. Both have a masked-LM
            head, or neither has.
        layer_map: for each student layer the 0-based teacher layer it is aligned with.
        losses: weights and kinds; default: those of `LossArguments`.
        projections: fp32 [Dt, Ds] for each of the S+1 states when the widths differ.
        run_teacher: the module to call in the teacher's place, such as the ZeRO-3 engine around it.

    Raises:
        InputError: from `BaseDistiller` and `relation_heads`; or a model's family is not supported; or there is a logit
            or MLM loss, but a model has no masked-LM head.
    """

    phase = 1
    losses: LossArguments

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        layer_map: Sequence[int],
        losses: LossArguments | None = None,
        projections: Sequence[Tensor] | None = None,
        run_teacher: nn.Module | None = None,
    ) -> None:
        super().__init__(student, teacher, layer_map, losses or LossArguments(), projections, run_teacher)
        self.relation_heads = 1
        if self.reads("relations"):
            self.relation_heads = relation_heads(self.losses.relation_heads, (student.config, teacher.config))
        self.reads_vocabulary = self.uses("logit") or self.uses("mlm")
        if self.reads_vocabulary and not (has_masked_lm_head(student) and has_masked_lm_head(teacher)):
            raise InputError(
                "there is no masked-LM head, whose logits a loss would need: set logit_weight and mlm_weight to 0"
            )
        self.student_head, self.teacher_head = HeadTap(student), HeadTap(teacher)
        for parameter in self._unreached(student):  # weight decay must skip unreached parameters, and DDP must not wait
            parameter.requires_grad_(False)

    @property
    def validation_progress(self) -> float:
        """Return the progress whose weights every validation takes: 1, or 0 if all weights fall to 0."""
        return float(any(self.weights_at(1.0).values()))

    def __call__(
        self,
        model: nn.Module,
        batch: dict[str, Tensor],
        progress: float = 0.0,
        weights: LossWeights | None = None,
    ) -> LossTerms:
        """Return the terms of one batch; `total` is the weighted sum of their means.

        Args:
            model: the student, or the engine wrapped around it.
            batch: `input_ids` int64 [B, T]; optional `attention_mask` [B, T], `token_type_ids`, and with logit or MLM
                losses `labels` int64 [B, T], -100 where a token was not masked.
            progress: share of the run done (0 to 1), for scheduled weights.
            weights: the weight of each loss, in place of those at `progress`.
        """
        inputs: dict[str, Tensor] = {
            k: batch[k] for k in ("input_ids", "attention_mask", "token_type_ids") if k in batch
        }
        mask_BT = padding_mask(batch.get("attention_mask"))
        labels_BT = batch.get("labels") if self.reads_vocabulary else None
        positions = None if labels_BT is None else flat_positions(labels_BT != -100)
        view = self.teacher_view(inputs, positions if self.uses("logit") else None)
        weights = self.weights_at(progress) if weights is None else weights
        terms = self._student_terms(model, inputs, mask_BT, view, positions, labels_BT, weights)
        terms.add_up(weights)
        return terms

    def _unreached(self, student: PreTrainedModel) -> list[nn.Parameter]:
        """Return the student's parameters that get no gradient from any loss."""
        if self.reads_vocabulary:  # all get a gradient, except a second bias that some heads hold beside the decoder's
            head = family_of(student).head
            biases = [student.get_parameter(head.bias)] if head and head.bias else []
            return [bias for bias in biases if bias is not self.student_head.decoder.bias]
        unused = head_parameters(student)
        if self.reads("states"):
            return unused
        family, layers = family_of(student), len(layers_of(student))
        named = student.named_parameters()
        values = self.reads("relations")
        return unused + [p for name, p in named if family.follows_the_last_map(name, layers, values_count=values)]

    @torch.no_grad()
    def teacher_view(self, inputs: dict[str, Tensor], positions: Tensor | None) -> TeacherView:
        """Run the teacher and keep only what the losses need.

        Args:
            inputs: the arguments of the teacher's forward.
            positions: flat indices [N], into the B·T tokens, at which logits are compared; None without a logit loss.
        """
        vocabulary: list[Vocabulary] = []

        def keep(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
            vocabulary.append((hidden_ND, weight_VD, bias_V))
            return hidden_ND.new_zeros(0)

        self.teacher_head.set(positions, keep if positions is not None else None)
        self.teacher.eval()
        with self.teacher_recorder or nullcontext(), self.teacher_head:
            states = self.run_teacher(**inputs, output_hidden_states=True).hidden_states
        view = TeacherView(
            [states[i] for i in self.aligned.teacher_states], take_recorded(self.teacher_recorder), *vocabulary
        )
        del states
        trim_heap(view.hidden[0])
        return view

    def _student_terms(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        mask_BT: Tensor | None,
        view: TeacherView,
        positions: Tensor | None,
        labels_BT: Tensor | None,
        weights: LossWeights,
    ) -> LossTerms:
        terms = LossTerms()
        self.student_head.set(positions, self._vocabulary_losses(view, positions, labels_BT))
        with ExitStack() as stack:
            stack.enter_context(self.student_recorder or nullcontext())
            stack.enter_context(self.student_head)
            stack.enter_context(gathered([t for t in view.vocabulary or () if t is not None]))
            output = model(**inputs, output_hidden_states=True)
        taken = take_recorded(self.student_recorder)
        student_states = [output.hidden_states[i] for i in self.aligned.student_states]
        if positions is not None:
            named = iter(output.logits)
            terms.values |= {name: next(named) for name in ("logit", "mlm") if self.uses(name)}
        if not torch.is_grad_enabled():
            cosine = hidden_state_loss(student_states, view.hidden, mask_BT, self.projections, kind="cosine")
            terms.values["cosine"] = 1 - cosine
        maps = taken.queries_keys, view.taken.queries_keys, self.windows
        related = taken.related, view.taken.related, self.relation_heads
        layers = LayerView(student_states, view.hidden, *maps, mask_BT, self.projections, self.losses, *related)
        self.add_layer_losses(terms, layers, weights)
        return terms

    def _vocabulary_losses(self, view: TeacherView, positions: Tensor | None, labels_BT: Tensor | None):  # type: ignore[no-untyped-def]
        """Return the function that replaces the student's output projection; None for a batch without labels.

        In place of logits, the function returns a stack of the losses computed from logits: `logit` if it is used, then
        `mlm` if it is used.
        """
        if positions is None or labels_BT is None:
            return None
        labels_N = labels_BT.flatten()[positions]

        def losses(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
            values = []
            if self.uses("logit"):
                assert view.vocabulary is not None
                teacher_hidden, teacher_weight, teacher_bias = view.vocabulary
                on_cpu = torch.autocast("cpu", enabled=False)  # the loss chooses its precision on a CPU
                with nullcontext() if hidden_ND.is_cuda else on_cpu:
                    kl = linear_distillation_kl(
                        hidden_ND,
                        weight_VD,
                        teacher_hidden,
                        teacher_weight,
                        student_bias=bias_V,
                        teacher_bias=teacher_bias,
                        temperature=self.losses.temperature,
                    )
                values.append(kl)
            if self.uses("mlm"):
                logits_NV = nn.functional.linear(hidden_ND, weight_VD, bias_V).float()
                ce = nn.functional.cross_entropy(logits_NV, labels_N, reduction="sum")
                values.append(ce / max(labels_N.numel(), 1))
            return torch.stack(values)

        return losses
