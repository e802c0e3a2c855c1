"""The loss of phase 1: teacher and student on one batch, every term, and their weighted sum (BiStil, section 3.1).

Which states and maps are compared, and how: `bistil_ds.training.layer_losses`.

Shapes: B batch, T tokens, D width, H heads, d head width, S student layers, N masked positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass

import torch
from bistil_kernels import hidden_state_loss, linear_distillation_kl
from torch import Tensor, nn

from bistil_ds.distillation.arguments import LossArguments
from bistil_ds.distributed.gathering import gathered
from bistil_ds.errors import InputError
from bistil_ds.models.attention import AttentionRecorder
from bistil_ds.models.families import family_of, layers_of
from bistil_ds.models.head import HeadTap, flat_positions, head_parameters
from bistil_ds.training.freed_memory import release_unused
from bistil_ds.training.layer_losses import Alignment, QueriesKeys, attention_terms, hidden_terms, padding_mask, taken
from bistil_ds.training.schedule import Weight
from bistil_ds.training.terms import Terms

Vocabulary = tuple[Tensor, Tensor, Tensor | None]


@dataclass
class TeacherView:
    """What a teacher forward leaves for the losses: aligned states [B, T, Dt], maps' queries and keys [B, H, T, d]."""

    hidden: list[Tensor]
    queries_keys: list[QueriesKeys]
    vocabulary: Vocabulary | None = None  # hidden [N, Dt], weight [V, Dt], bias [V]


class Distiller:
    """Holds student and teacher aligned layer by layer and computes the losses of a batch.

    Args:
        student, teacher: masked language models on one vocabulary, with the same number of heads.
        layer_map: for each student layer the 0-based teacher layer it is aligned with.
        losses: weights and kinds.
        projections: fp32 [Dt, Ds] for each of the S+1 states when the widths differ.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        layer_map: Sequence[int],
        losses: LossArguments | None = None,
        projections: Sequence[Tensor] | None = None,
        run_teacher: nn.Module | None = None,
    ) -> None:
        self.losses = losses or LossArguments()
        self.weights = {
            name: Weight.parse(getattr(self.losses, f"{name}_weight"), f"{name}_weight")
            for name in ("hidden", "attention", "logit", "mlm")
        }
        if not any(weight.used for weight in self.weights.values()):
            raise InputError("all loss weights are 0: give at least one of " + ", ".join(self.weights) + " a weight")
        self.teacher = teacher
        self.run_teacher = (
            teacher if run_teacher is None else run_teacher
        )  # a ZeRO-3 engine, or a compiled module, around the teacher
        self.aligned = aligned = Alignment.of(layer_map, last_only=self.losses.align_layers == "last")
        self.projections = [projections[i] for i in aligned.student_states] if projections is not None else None
        self.student_recorder: AttentionRecorder | None = None
        self.teacher_recorder: AttentionRecorder | None = None
        if self.weights["attention"].used:  # else nothing is kept of anyone's attention
            self.student_recorder = AttentionRecorder(student, aligned.student_layers)
            self.teacher_recorder = AttentionRecorder(teacher, aligned.teacher_layers)
        self.student_head, self.teacher_head = HeadTap(student), HeadTap(teacher)
        self.reads_vocabulary = self.weights["logit"].used or self.weights["mlm"].used
        teacher.eval().requires_grad_(False)
        for parameter in self._unreached(student):  # must neither decay nor be waited for in a reduction
            parameter.requires_grad_(False)

    def __call__(self, model: nn.Module, batch: dict[str, Tensor], progress: float = 0.0) -> Terms:
        """The terms of one batch.

        Args:
            model: the student, or the engine wrapped around it.
            batch: `input_ids` int64 [B, T]; optional `attention_mask` [B, T], `token_type_ids`, and with logit or MLM
                losses `labels` int64 [B, T], -100 where a token was not masked.
            progress: share of the run done, for scheduled weights.
        """
        inputs: dict[str, Tensor] = {
            k: batch[k] for k in ("input_ids", "attention_mask", "token_type_ids") if k in batch
        }
        mask_BT = padding_mask(batch.get("attention_mask"))
        labels_BT = batch.get("labels") if self.reads_vocabulary else None
        positions = None if labels_BT is None else flat_positions(labels_BT != -100)
        view = self.teacher_view(inputs, positions if self.weights["logit"].used else None)
        weights = {name: weight.at(progress) for name, weight in self.weights.items()}
        terms = self._student_terms(model, inputs, mask_BT, view, positions, labels_BT, weights)
        parts = [weights[name] * value.mean() for name, value in _present(terms)]
        terms.total = torch.stack(parts).sum()
        return terms

    def _unreached(self, student: nn.Module) -> list[nn.Parameter]:
        """Parameters no loss has a gradient for."""
        if self.reads_vocabulary:  # all but the bias a head keeps beside an untied decoder's own
            bias = student.get_parameter(family_of(student).decoder_bias)
            return [] if bias is self.student_head.decoder.bias else [bias]
        head = head_parameters(student)
        if self.weights["hidden"].used:
            return head
        family, layers = family_of(student), len(layers_of(student))
        named = student.named_parameters()
        return head + [parameter for name, parameter in named if family.follows_the_last_map(name, layers)]

    @torch.no_grad()
    def teacher_view(self, inputs: dict[str, Tensor], positions: Tensor | None) -> TeacherView:
        """Run the teacher and keep only the aligned states, queries and keys."""
        vocabulary: list[Vocabulary] = []

        def keep(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
            vocabulary.append((hidden_ND, weight_VD, bias_V))
            return hidden_ND.new_zeros(0)

        self.teacher_head.set(positions, keep if positions is not None else None)
        self.teacher.eval()
        with self.teacher_recorder or nullcontext(), self.teacher_head:
            states = self.run_teacher(**inputs, output_hidden_states=True).hidden_states
        view = TeacherView([states[i] for i in self.aligned.teacher_states], taken(self.teacher_recorder), *vocabulary)
        del states
        release_unused(view.hidden[0])
        return view

    def _student_terms(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        mask_BT: Tensor | None,
        view: TeacherView,
        positions: Tensor | None,
        labels_BT: Tensor | None,
        weights: Mapping[str, float],
    ) -> Terms:
        terms = Terms(total=torch.zeros(()))
        self.student_head.set(positions, self._vocabulary_losses(view, positions, labels_BT))
        with ExitStack() as stack:
            stack.enter_context(self.student_recorder or nullcontext())
            stack.enter_context(self.student_head)
            stack.enter_context(gathered([t for t in view.vocabulary or () if t is not None]))
            output = model(**inputs, output_hidden_states=True)
        queries_keys = taken(self.student_recorder)
        student_states = [output.hidden_states[i] for i in self.aligned.student_states]
        if positions is not None:
            named = iter(output.logits)
            terms.logit = next(named) if self.weights["logit"].used else None
            terms.mlm = next(named) if self.weights["mlm"].used else None
        if not torch.is_grad_enabled():
            terms.cosine = 1 - hidden_state_loss(student_states, view.hidden, mask_BT, self.projections, kind="cosine")
        if self.weights["hidden"].used:
            hidden_mask = None if self.losses.published_losses else mask_BT
            terms.hidden = hidden_terms(student_states, view.hidden, hidden_mask, self.projections, weights["hidden"])
        view.hidden.clear()  # freed before the maps are worked on
        if self.weights["attention"].used:
            kind, published = self.losses.attention_loss, self.losses.published_losses
            how = kind, not published, weights["attention"]
            terms.attention = attention_terms(queries_keys, view.queries_keys, mask_BT, *how)
        return terms

    def _vocabulary_losses(self, view: TeacherView, positions: Tensor | None, labels_BT: Tensor | None):  # type: ignore[no-untyped-def]
        """What the student's output projection computes in place of logits: the used terms, stacked."""
        if positions is None or labels_BT is None:
            return None
        labels_N = labels_BT.flatten()[positions]

        def losses(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
            values = []
            if self.weights["logit"].used:
                assert view.vocabulary is not None
                teacher_hidden, teacher_weight, teacher_bias = view.vocabulary
                on_cpu = torch.autocast("cpu", enabled=False)  # there it chooses its own precision
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
            if self.weights["mlm"].used:
                logits_NV = nn.functional.linear(hidden_ND, weight_VD, bias_V).float()
                ce = nn.functional.cross_entropy(logits_NV, labels_N, reduction="sum")
                values.append(ce / max(labels_N.numel(), 1))
            return torch.stack(values)

        return losses


def _present(terms: Terms) -> Iterator[tuple[str, Tensor]]:
    for name in ("hidden", "attention", "logit", "mlm"):
        value = getattr(terms, name)
        if value is not None:
            yield name, value
