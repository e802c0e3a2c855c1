"""Count the bytes that a phase-1 step keeps for backward, on the meta device: nothing is computed or allocated."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bistil_ds.benchmarking.flops.count import shape_of
from bistil_ds.benchmarking.training_step.ways import Steps


def saved_bytes(student: str, teacher: str, batch: int, length: int, dtype: torch.dtype = torch.bfloat16) -> int:
    """Return the bytes, without weights, that are kept for backward after the student's forward pass and the losses.

    Attention maps [..., length, length] do not count, because fused attention keeps none. The teacher's hidden states,
    queries and keys in aligned layers count too, because they are held until the losses are computed.
    """
    models = [shape_of(name).to(dtype) for name in (student, teacher)]
    inputs = {"input_ids": torch.zeros(batch, length, dtype=torch.int64, device="meta")}
    steps = Steps(models[0].train(), models[1], inputs)
    layers, width = models[0].config.num_hidden_layers, models[1].config.hidden_size
    waiting = (3 * layers + 1) * batch * length * width * dtype.itemsize
    return _saved(steps, models[0]) + waiting


def _saved(steps: Steps, model: nn.Module) -> int:
    """Return the bytes of all storages saved for backward that hold neither a parameter nor an attention map."""
    weights = {_identity(parameter) for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}
    length = steps.inputs["input_ids"].shape[1]

    def pack(tensor: Tensor) -> Tensor:
        if _identity(tensor) not in weights and tuple(tensor.shape[-2:]) != (length, length):
            kept[_identity(tensor)] = tensor  # kept alive, so that its identity stays its own
        return tensor

    way = steps.way("ours")
    way.prepare()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        steps.distiller(steps.student, steps.inputs)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _identity(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
