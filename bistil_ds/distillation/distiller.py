"""The loss of phase 1: it runs teacher and student on a batch and sums the weighted terms (BiStil, section 3.1).

`bistil_ds.training.layer_losses` says which states and maps are compared, and how.

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
    """What the losses need of one teacher forward pass.

    Attributes:
        hidden: an aligned state [B, T, Dt] for each pair.
        queries_keys: queries and keys, each [B, H, T, d], for each pair of maps; none without an attention loss.
        vocabulary: what the output projection got at the masked positions; None without a logit loss.
    """

    hidden: list[Tensor]
    queries_keys: list[QueriesKeys]
    vocabulary: Vocabulary | None = None  # hidden [N, Dt], weight [V, Dt], bias [V]


class Distiller:
    """The loss of phase 1 for one student and one teacher, aligned layer by layer.

    The teacher is frozen, and so are the student's parameters that no loss reaches.

    Args:
        student, teacher: masked language models on one vocabulary, with the same number of heads.
        layer_map: for each student layer the 0-based teacher layer it is aligned with.
        losses: weights and kinds; default: those of `LossArguments`.
        projections: fp32 [Dt, Ds] for each of the S+1 states when the widths differ.
        run_teacher: the module to call in the teacher's place, such as the ZeRO-3 engine around it.

    Raises:
        InputError: no weight is above 0, a weight is no number or FROM:TO, or a model's family is not supported; with
            an attention loss, a model's attention cannot be observed.
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
        self.run_teacher = teacher if run_teacher is None else run_teacher
        self.aligned = aligned = Alignment.of(layer_map, last_only=self.losses.align_layers == "last")
        self.projections = [projections[i] for i in aligned.student_states] if projections is not None else None
        self.student_recorder: AttentionRecorder | None = None
        self.teacher_recorder: AttentionRecorder | None = None
        if self.weights["attention"].used:  # a recorder keeps queries and keys in memory
            self.student_recorder = AttentionRecorder(student, aligned.student_layers)
            self.teacher_recorder = AttentionRecorder(teacher, aligned.teacher_layers)
        self.student_head, self.teacher_head = HeadTap(student), HeadTap(teacher)
        self.reads_vocabulary = self.weights["logit"].used or self.weights["mlm"].used
        teacher.eval().requires_grad_(False)
        for parameter in self._unreached(student):  # they must neither decay nor hold up a reduction
            parameter.requires_grad_(False)

    def __call__(self, model: nn.Module, batch: dict[str, Tensor], progress: float = 0.0) -> Terms:
        """Return the terms of one batch; `total` is their weighted sum.

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
        """Return the student's parameters that get no gradient from any loss."""
        if self.reads_vocabulary:  # of all parameters, only a bias that the head has beside its decoder's own
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
        """Run the teacher and keep only what the losses need.

        Args:
            inputs: the arguments of the teacher's forward.
            positions: flat indices [N] into the B·T tokens where the logits are compared; None without a logit loss.
        """
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
        view.hidden.clear()  # frees the teacher's states before the attention loss allocates
        if self.weights["attention"].used:
            kind, published = self.losses.attention_loss, self.losses.published_losses
            how = kind, not published, weights["attention"]
            terms.attention = attention_terms(queries_keys, view.queries_keys, mask_BT, *how)
        return terms

    def _vocabulary_losses(self, view: TeacherView, positions: Tensor | None, labels_BT: Tensor | None):  # type: ignore[no-untyped-def]
        """Return what the student's output projection computes in place of logits; None where no tokens are masked.

        The returned function gives the used terms, stacked: logit before mlm.
        """
        if positions is None or labels_BT is None:
            return None
        labels_N = labels_BT.flatten()[positions]

        def losses(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
            values = []
            if self.weights["logit"].used:
                assert view.vocabulary is not None
                teacher_hidden, teacher_weight, teacher_bias = view.vocabulary
                on_cpu = torch.autocast("cpu", enabled=False)  # there the loss chooses its own precision
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
