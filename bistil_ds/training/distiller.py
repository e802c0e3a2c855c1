"""The base of both phases' distillers: loss weights, layer alignment, and the losses of states and attention maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from bistil_ds.errors import InputError
from bistil_ds.models.attention import AttentionRecorder
from bistil_ds.training.layer_losses import Alignment
from bistil_ds.training.schedule import Weight
from bistil_ds.training.terms import LayerView, LossTerms, terms_of


def parse_weights(losses: object, phase: int) -> dict[str, Weight]:
    """Return the weight of each loss of a phase, read from the attribute `<name>_weight` of `losses`.

    Raises:
        InputError: a weight is neither a finite number of at least 0 nor FROM:TO, or all weights are 0.
    """
    names = [term.name for term in terms_of(phase)]
    weights = {name: Weight.parse(getattr(losses, f"{name}_weight"), f"{name}_weight") for name in names}
    if not any(weight.used for weight in weights.values()):
        raise InputError("all loss weights are 0: give at least one of " + ", ".join(names) + " a weight")
    return weights


class BaseDistiller:
    """A student and a frozen teacher aligned layer by layer, and the weights of the losses between them.

    Args:
        student, teacher: models on one vocabulary, with the same number of heads; the teacher is frozen.
        layer_map: for each student layer the 0-based teacher layer it is aligned with.
        losses: the loss arguments of the phase: weights and kinds.
        projections: an fp32 matrix [teacher width, student width] for each student state (the embeddings' output and
            that of each layer); needed where the widths differ.
        run_teacher: the module to call in the teacher's place, such as the ZeRO-3 engine around it.

    Raises:
        InputError: from `parse_weights`; or there is an attention loss and a model's attention cannot be observed.
    """

    phase: ClassVar[int]

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        layer_map: Sequence[int],
        losses: Any,
        projections: Sequence[Tensor] | None = None,
        run_teacher: nn.Module | None = None,
    ) -> None:
        self.losses = losses
        self.weights = parse_weights(losses, self.phase)
        self.teacher = teacher
        self.run_teacher = teacher if run_teacher is None else run_teacher
        self.aligned = aligned = Alignment.of(layer_map, last_only=losses.align_layers == "last")
        self.projections = [projections[i] for i in aligned.student_states] if projections is not None else None
        self.student_recorder: AttentionRecorder | None = None
        self.teacher_recorder: AttentionRecorder | None = None
        if self.reads("maps"):  # only then: a recorder keeps queries and keys in memory
            self.student_recorder = AttentionRecorder(student, aligned.student_layers)
            self.teacher_recorder = AttentionRecorder(teacher, aligned.teacher_layers)
        teacher.eval().requires_grad_(False)

    def uses(self, name: str) -> bool:
        """Return whether the weight of a loss is above 0 at some point of the run."""
        return self.weights[name].used

    def reads(self, what: str) -> bool:
        """Return whether a used loss compares hidden states (`what` is "states") or attention maps ("maps")."""
        return any(term.reads == what and self.uses(term.name) for term in terms_of(self.phase))

    def weights_at(self, progress: float) -> dict[str, float]:
        """Return the weight of each loss when `progress` of the run (0 to 1) is done."""
        return {name: weight.at(progress) for name, weight in self.weights.items()}

    def add_layer_losses(self, terms: LossTerms, view: LayerView, weights: Mapping[str, float]) -> None:
        """Add the values of every used loss of hidden states or attention maps to `terms`.

        The teacher's states are freed as soon as no loss needs them, so `view.teacher_states` is empty afterwards.
        """
        if not self.reads("states"):
            view.teacher_states.clear()
        used = [term for term in terms_of(self.phase) if term.compute is not None and self.uses(term.name)]
        for number, term in enumerate(used):
            assert term.compute is not None
            is_last = all(later.reads != term.reads for later in used[number + 1 :])
            terms.values[term.name] = term.compute(view if is_last else view.copy(), weights[term.name])
            if is_last and term.reads == "states":
                view.teacher_states.clear()  # free the memory for the next loss; on CUDA `compute` does not
