"""A trainer that can replay its steps as CUDA graphs."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from bistil_ds.distillation.distiller import Distiller
from bistil_ds.text.chunks import longest_row
from bistil_ds.training.base_trainer import BaseTrainer
from bistil_ds.training.graphs.static_batch import StaticBatch
from bistil_ds.training.graphs.step import StaticStep
from bistil_ds.training.schedule import LossWeights
from bistil_ds.training.terms import LossTerms


class GraphedTrainer(BaseTrainer):
    """`BaseTrainer` that replays its steps if `args.cuda_graphs` is true.

    A subclass sets the attributes below. If there is a `static_step`, its `batch_loss` takes losses and gradients of
    training batches from there.

    Attributes:
        distiller: computes the losses.
        pad_token_id: fills the ids of batches that are shorter than the longest row.
        static_step: the step that is replayed; made anew for each training, None without `args.cuda_graphs`.
    """

    distiller: Distiller
    pad_token_id: int
    static_step: StaticStep | None = None

    def train(self, *args: Any, **kwargs: Any) -> Any:
        found = super().train(*args, **kwargs)
        if self.static_step is not None:
            self.record(cuda_graphs=self.static_step.as_record())
        return found

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        prepared = super()._prepare_for_training(*args, **kwargs)
        if self.args.cuda_graphs:
            self.static_step = self._make_static_step()
            self.optimizer.optimizer.step = self.static_step.update
        return prepared

    def _make_static_step(self) -> StaticStep:
        args, model = self.args, self.model_wrapped
        length, padded = longest_row(self.train_dataset.values())
        batch = StaticBatch(args.per_device_train_batch_size, length, padded, self.pad_token_id, args.device)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

        def losses(tensors: dict[str, Tensor], weights: LossWeights) -> LossTerms:
            return self.distiller(model, tensors, weights=weights)

        return StaticStep(
            losses, self.distiller.weights, trained, self.optimizer.optimizer, batch, max_grad_norm=args.max_grad_norm
        )

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        if self.static_step is None:
            return super().training_step(model, inputs, num_items_in_batch)
        if not model.training:
            model.train()
        return self.compute_loss(model, self._prepare_inputs(inputs)).detach()

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        return super()._clip_grad_norm(model) if self.static_step is None else self.static_step.norm

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = grad_norm if self.static_step is None else self.static_step.norm
        return super()._get_grad_norm(model, grad_norm=norm)
