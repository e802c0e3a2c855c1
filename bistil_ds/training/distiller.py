"""The base of both phases' distillers: loss weights, layer alignment, and the losses of states and attention maps."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import PreTrainedModel

from bistil_ds.errors import InputError, Notice
from bistil_ds.models.attention import AttentionRecorder, is_attention_observable
from bistil_ds.training.layer_losses import Alignment
from bistil_ds.training.schedule import LossWeights, Weight
from bistil_ds.training.terms import LayerView, LossTerms, terms_of

OF_ATTENTION = ("maps", "relations")  # what only a model can give whose attention can be observed


def parse_weights(losses: object, phase: int, outputs: Sequence[str] | None = None) -> dict[str, Weight]:
    """Return the weight of each loss of a phase, read from the attribute `<name>_weight` of `losses`.

    Args:
        outputs: the losses of the models' outputs that the task has; the others weigh 0. None: the task has all.

    Raises:
        InputError: a weight is neither a finite number of at least 0 nor FROM:TO, or all weights are 0.
    """
    terms = terms_of(phase)
    weights = {term.name: Weight.parse(getattr(losses, f"{term.name}_weight"), f"{term.name}_weight") for term in terms}
    names = [term.name for term in terms if term.compute is not None or outputs is None or term.name in outputs]
    weights |= dict.fromkeys(weights.keys() - set(names), Weight(0.0, 0.0))
    if not any(weight.used for weight in weights.values()):
        raise InputError("all loss weights are 0: give at least one of " + ", ".join(names) + " a weight")
    return weights


def check_maps_not_asked(losses: object, phase: int, model_type: str) -> None:
    """Check that nobody asked for a loss of attention maps, which models of this type do not show.

    Raises:
        InputError: the weight of such a loss is above 0 and not the phase's default.
    """
    for name in (f"{term.name}_weight" for term in terms_of(phase) if term.reads in OF_ATTENTION):
        weight = getattr(losses, name)
        if Weight.parse(weight, name).used and weight != getattr(type(losses), name, None):
            raise InputError(f"--{name} {weight}: a {model_type} model does not show its attention; leave it out")


class BaseDistiller:
    """A student and a frozen teacher aligned layer by layer, and the weights of the losses between them.

    If the attention of one of the models cannot be observed, as DeBERTa-v2's, attention maps are not compared, and a
    `Notice` says so.

    Args:
        student, teacher: models on one vocabulary, with the same number of heads; the teacher is frozen.
        layer_map: for each student layer the 0-based teacher layer it is aligned with.
        losses: the loss arguments of the phase: weights and kinds.
        projections: an fp32 matrix [teacher width, student width] for each student state (the embeddings' output and
            that of each layer); needed where the widths differ.
        run_teacher: the module to call in the teacher's place, such as the ZeRO-3 engine around it.
        outputs: the losses of the models' outputs that the task has; None: all of the phase.

    Raises:
        InputError: from `parse_weights`; or a model's attention cannot be observed, and maps were asked for by a weight
            other than the default, or there is no other loss; or aligned layers have different windows.
    """

    phase: ClassVar[int]

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        layer_map: Sequence[int],
        losses: Any,
        projections: Sequence[Tensor] | None = None,
        run_teacher: nn.Module | None = None,
        outputs: Sequence[str] | None = None,
    ) -> None:
        self.losses = losses
        self.weights = parse_weights(losses, self.phase, outputs)
        if self.reads("maps") or self.reads("relations"):
            self._leave_out_hidden_maps((student, teacher))
        self.teacher = teacher
        self.run_teacher = teacher if run_teacher is None else run_teacher
        self.aligned = aligned = Alignment.of(layer_map, last_only=losses.align_layers == "last")
        self.projections = [projections[i] for i in aligned.student_states] if projections is not None else None
        self.student_recorder: AttentionRecorder | None = None
        self.teacher_recorder: AttentionRecorder | None = None
        if self.reads("maps") or self.reads("relations"):  # only then: a recorder keeps queries and keys in memory
            layers = (aligned.student_layers, aligned.teacher_layers) if self.reads("maps") else ([], [])
            related: tuple[int | None, int | None] = None, None
            if self.reads("relations"):
                wanted = losses.relation_layer
                related = len(layer_map) - 1, layer_map[-1] if wanted is None else wanted
            self.student_recorder = AttentionRecorder(student, layers[0], related[0])
            self.teacher_recorder = AttentionRecorder(teacher, layers[1], related[1])
            _check_windows(self.student_recorder, self.teacher_recorder)
        teacher.eval().requires_grad_(False)

    def _leave_out_hidden_maps(self, models: Sequence[PreTrainedModel]) -> None:
        """Set the weights of losses of attention maps to 0 if one of the models hides its attention."""
        hiding = [str(model.config.model_type) for model in models if not is_attention_observable(model)]
        if not hiding:
            return
        check_maps_not_asked(self.losses, self.phase, hiding[0])
        self.weights |= {term.name: Weight(0.0, 0.0) for term in terms_of(self.phase) if term.reads in OF_ATTENTION}
        if not any(weight.used for weight in self.weights.values()):
            raise InputError(f"a {hiding[0]} model does not show its attention, and all other loss weights are 0")
        said = f"a {hiding[0]} model does not show its attention: the attention loss is left out"
        warnings.warn(said, Notice, stacklevel=4)

    @property
    def windows(self) -> list[int | None]:
        """Return the window of each pair of attention maps, as `AttentionRecorder.windows`."""
        return [] if self.student_recorder is None else self.student_recorder.windows

    def uses(self, name: str) -> bool:
        """Return whether the weight of a loss is above 0 at some point of the run."""
        return self.weights[name].used

    def reads(self, what: str) -> bool:
        """Return whether a used loss compares hidden states (`what` is "states"), maps ("maps") or "relations"."""
        return any(term.reads == what and self.uses(term.name) for term in terms_of(self.phase))

    def weights_at(self, progress: float) -> dict[str, float]:
        """Return the weight of each loss when `progress` of the run (0 to 1) is done."""
        return {name: weight.at(progress) for name, weight in self.weights.items()}

    def add_layer_losses(self, terms: LossTerms, view: LayerView, weights: LossWeights) -> None:
        """Add the values of every used loss of hidden states, attention maps or relations to `terms`.

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


def _check_windows(student: AttentionRecorder, teacher: AttentionRecorder) -> None:
    """Raise InputError unless both layers of each pair let a token see keys equally far away."""
    for ours, theirs, *windows in zip(student.layers, teacher.layers, student.windows, teacher.windows, strict=True):
        if windows[0] != windows[1]:
            seen = ["all tokens" if window is None else f"{window} tokens on either side" for window in windows]
            raise InputError(
                f"attention loss: student layer {ours} sees {seen[0]}, its teacher layer {theirs} {seen[1]}; align "
                "layers of one kind, or give --attention_weight 0"
            )
