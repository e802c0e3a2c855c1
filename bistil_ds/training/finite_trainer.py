"""A `transformers.Trainer` that stops, on every rank, at the first loss, gradient or weight that is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback

from bistil_ds.distributed.agreement import first_complaint
from bistil_ds.distributed.finite import keep_skipping, non_finite_parameters, watch_gradients
from bistil_ds.errors import NonFiniteError, NonFiniteLossError

SPOILT = "the state after this update was not saved"
UNSPOILT = "no update was made"
MOST_SKIPS = 50  # updates in a row that the loss scaler of fp16 may skip


@dataclass(frozen=True)
class BatchLoss:
    """The loss of one batch.

    Args:
        total: the loss to minimise.
        terms: name → value to log.
        group: name under which the terms are averaged, such as a language.
        rows: returns which rows the batch holds, for messages.
    """

    total: Tensor
    terms: dict[str, Tensor]
    group: str
    rows: Callable[[], str]

    @property
    def values(self) -> str:
        """Return the main terms (those without `_` in their names), for messages."""
        return str({name: round(float(value), 4) for name, value in self.terms.items() if "_" not in name})


class FiniteTrainer(Trainer):
    """`transformers.Trainer` that raises an error instead of saving a model that is not finite or ending with one.

    It checks

    - the losses and gradients of each step: before the update without DeepSpeed; with DeepSpeed, once the engine has
      reported the gradients' norm;
    - the weights, and the loss of the latest batch with these weights, before each checkpoint and at the end of
      `train`.

    All ranks raise the same error. If a loss is not finite, the trainer makes all gradients of its rank NaN. Once the
    ranks have averaged their gradients, the norm is NaN on every rank, so the check needs no communication of its own.
    If fp16's loss scaler skips an update because scaled gradients overflow, the skip is counted; `MOST_SKIPS` skips in
    a row are an error. A subclass defines `batch_loss`.

    Raises:
        NonFiniteLossError: from `train`: a loss is not finite.
        NonFiniteError: from `train`: gradients or weights are not finite, or fp16's loss scaler skipped `MOST_SKIPS`
            updates in a row.
    """

    model_wrapped: Any  # the model, or the engine around it
    _micro_step = (-1, 0)  # the current optimiser step, and its latest micro-step, from 0
    _complaint: str | None = None  # this rank's message if a loss of this step is not finite
    _latest: tuple[dict[str, Any], int, Callable[[], str]] | None = None  # the latest batch: inputs, number, rows
    _sound_step: int | None = None  # the step after which validation found finite losses
    _is_watched = False  # whether `watch_gradients` checks an engine that keeps no norm
    _skips_in_a_row = _skips = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._spoilt = ExitStack()  # holds the hooks that make gradients NaN
        self.add_callback(_CheckAtEnd(self))

    def batch_loss(self, model: nn.Module, inputs: dict[str, Any], micro_step: int, progress: float) -> BatchLoss:
        """Return the loss of one batch.

        Args:
            model: the model, or the engine around it.
            inputs: the batch.
            micro_step: number of the batch on this rank, from 0.
            progress: share of the run done (0 to 1), for scheduled weights.
        """
        raise NotImplementedError

    def before_loss(self, inputs: dict[str, Any]) -> None:
        """Note a training batch before its loss is computed; does nothing unless a subclass defines it."""

    def after_loss(self, loss: BatchLoss) -> None:
        """Note the finite loss of a training batch; does nothing unless a subclass defines it."""

    def train(self, *args: Any, **kwargs: Any) -> Any:
        self._micro_step, self._complaint, self._latest, self._sound_step = (-1, 0), None, None, None
        self._skips_in_a_row = self._skips = 0
        with self._spoilt:
            return super().train(*args, **kwargs)

    # Losses

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        step = self.state.global_step
        seen = self._micro_step[1] + 1 if self._micro_step[0] == step else 0
        self._micro_step = (step, seen)
        micro_step = step * self.args.gradient_accumulation_steps + seen
        self.before_loss(inputs)
        loss = self.batch_loss(model, dict(inputs), micro_step, self._progress())
        self._latest = (inputs, micro_step, loss.rows)
        if torch.isfinite(loss.total):
            self.after_loss(loss)
            return loss.total
        if self._complaint is None:
            self._complaint = (
                f"non-finite loss at step {step + 1}, micro-step {micro_step + 1}, {self._where()}: {loss.values}"
            )
            self._spoil_gradients()
        return loss.total

    def _spoil_gradients(self) -> None:
        """Make all gradients of this rank NaN until training ends; left alone, those of a mean over nothing are 0."""
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                self._spoilt.enter_context(parameter.register_hook(lambda found: torch.full_like(found, math.nan)))

    def _progress(self) -> float:
        return self.state.global_step / max(self.state.max_steps, 1)

    def _where(self) -> str:
        """Return this rank, and the rows of its latest batch, for messages."""
        rank = f"rank {self.args.process_index}"
        return rank if self._latest is None else f"{rank}, {self._latest[2]()}"

    def _after(self) -> str:
        return f"after step {self.state.global_step}, {self._where()}"

    # Gradients

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        prepared = super()._prepare_for_training(*args, **kwargs)
        if self.is_deepspeed_enabled:
            engine = self.model_wrapped
            self._is_watched = watch_gradients(engine, lambda norm: self._check_gradients(norm, UNSPOILT))
            keep_skipping(engine)
        return prepared

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if not self.is_deepspeed_enabled:
            self._check_gradients(norm, UNSPOILT, scaled=_is_skipped(norm, self.accelerator.scaler, model))
        elif self.accelerator.optimizer_step_was_skipped:
            self._check_gradients(math.inf, UNSPOILT, scaled=self.model_wrapped.fp16_enabled())
        elif norm is not None:
            self._check_gradients(norm, SPOILT)
        elif not self._is_watched and (complaint := first_complaint(self._complaint)):
            raise NonFiniteLossError(f"{complaint}; {SPOILT}")
        return norm

    def _check_gradients(self, norm: Any, outcome: str, scaled: bool = False) -> None:
        """Raise if `norm` is not finite; if `scaled` is true and all losses are finite, only count a skipped update.

        The norm is the same on every rank, so all ranks decide alike. If the norm is not finite, the ranks exchange
        their messages about losses.

        Args:
            norm: the 2-norm of all gradients; DeepSpeed may report -1 in place of a norm that is not finite.
            outcome: words for the message that say what becomes of the update.
            scaled: whether a loss scaler skips this update.
        """
        norm = float(norm)
        if 0 <= norm < math.inf:
            self._skips_in_a_row = 0
            return
        if (complaint := first_complaint(self._complaint)) is not None:
            raise NonFiniteLossError(f"{complaint}; {outcome}")
        step = self.state.global_step + 1
        if not scaled:
            raise NonFiniteError(f"non-finite gradient norm ({norm}) at step {step}, {self._where()}; {outcome}")
        self._skips += 1
        self._skips_in_a_row += 1
        if self._skips_in_a_row >= MOST_SKIPS:
            raise NonFiniteError(
                f"gradients overflow in fp16: the loss scaler has skipped {MOST_SKIPS} updates in a row, the last at "
                f"step {step}, {self._where()}; take --bf16 or full precision"
            )

    def drain_skips(self) -> int:
        """Return how many updates the loss scaler of fp16 has skipped since the last call."""
        skips, self._skips = self._skips, 0
        return skips

    # The state after an update

    def check_validation(self, metrics: dict[str, float]) -> None:
        """Raise NonFiniteLossError if a loss of a validation (the same on every rank) is not finite."""
        losses = {name: value for name, value in metrics.items() if name.endswith("loss")}
        if bad := {name: value for name, value in losses.items() if not math.isfinite(value)}:
            raise NonFiniteLossError(f"non-finite loss in the validation {self._after()}: {bad}; nothing was saved")
        if losses:
            self._sound_step = self.state.global_step

    def check_state(self) -> None:
        """Raise unless the weights, and the loss of the latest batch with them, are finite. Every rank must call this.

        The loss is not computed if a validation after the same step has found finite losses.

        Raises:
            NonFiniteError: weights are not finite.
            NonFiniteLossError: the loss is not finite.
        """
        bad, complaint = non_finite_parameters(self.model), None
        if bad:
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            complaint = f"non-finite weights {self._after()}: {bad[0]}{more}; nothing was saved"
        _raise(NonFiniteError, first_complaint(complaint))
        if self._latest is None or self._sound_step == self.state.global_step:
            return
        inputs, micro_step, _ = self._latest
        was_training, complaint = self.model_wrapped.training, None
        self.model_wrapped.eval()
        with torch.no_grad():
            loss = self.batch_loss(self.model_wrapped, dict(inputs), micro_step, self._progress())
        self.model_wrapped.train(was_training)
        if not torch.isfinite(loss.total):
            complaint = f"non-finite loss {self._after()}: {loss.values}; nothing was saved"
        _raise(NonFiniteLossError, first_complaint(complaint))


class _CheckAtEnd(TrainerCallback):
    """Callback that checks the final state, before callbacks that are added later record it as a result."""

    def __init__(self, trainer: FiniteTrainer) -> None:
        self.trainer = trainer

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        self.trainer.check_state()


def _is_skipped(norm: Tensor, scaler: Any, model: nn.Module) -> bool:
    """Return whether torch's loss scaler skips an update; it does so if an entry of a gradient is not finite."""
    if scaler is None or torch.isfinite(norm):
        return False
    return not all(bool(one.grad.isfinite().all()) for one in model.parameters() if one.grad is not None)


def _raise(kind: type[NonFiniteError], complaint: str | None) -> None:
    if complaint is not None:
        raise kind(complaint)
