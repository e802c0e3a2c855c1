"""Deltas: 1-D parameters that hold the changes to K entries of a weight.

The weight itself gets no gradient. After each optimizer step its K entries are overwritten with start value + delta.
So gradients, their reduction over ranks, clipping and optimizer state have K entries at every ZeRO stage. DeepSpeed
needs no mask: it sees a model with a few small trainable parameters.

With DeepSpeed and without, the optimizer is torch's AdamW, not `SparseAdamW` of `bistil_kernels`. `SparseAdamW` updates
a whole delta together with its weight. DeepSpeed cannot use it: it updates flat fp32 partitions, which hold no weights
and may cut a delta in two. The head trains densely and has to be in the same optimizer as the deltas. One optimizer for
all cases also means one schedule and one kind of state.

Weights are written after the step, so that the optimizer needs only the deltas. At ZeRO-3 each rank writes into its own
partition of the weight, and only the deltas are gathered. The alternative would be to write into the weight that ZeRO-3
gathers for the forward pass. But ZeRO-3 drops a gathered weight once its module has run, and gathers the weight again
in backward, in recomputation, in each micro-step and in validation. Each gather would need another write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from bistil_kernels import SparseDelta, write_deltas
from torch import Tensor, nn
from transformers import TrainerCallback

from bistil_ds.distributed.gathering import full_fp32, gathered
from bistil_ds.distributed.partitions import full_shape, is_partitioned, write_entries, write_whole
from bistil_ds.errors import InputError
from bistil_ds.models.parameters import ParameterNames, unwrap
from bistil_ds.sft.changes import SparseDiff
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sparse.maskable import base_model_of, maskable_parameters
from bistil_ds.sparse.modules import DELTA, make_sparse


class SparseDeltas:
    """The deltas of one model.

    Attributes:
        deltas: name of a weight → the weight, ascending indices [K], start values [K] and delta [K]. The delta is a
            parameter of the weight's module. If several modules share a tied weight, each of them has the delta as a
            parameter, and their gradients add up.
        metadata: the metadata that `fine_tuning` gives to a sparse fine-tuning (SFT).
    """

    def __init__(self, model: nn.Module, deltas: dict[str, SparseDelta], metadata: Mapping[str, Any]) -> None:
        self.model, self.deltas, self.metadata = model, deltas, dict(metadata)

    @torch.no_grad()
    def write(self) -> None:
        """Write start + delta into every weight.

        Call it on every rank after each optimizer step, and after loading a checkpoint. At ZeRO-3 it writes this rank's
        part of each weight, and also the gathered copy if there is one at the time.
        """
        for delta in self.deltas.values():
            delta.indices_K = delta.indices_K.to(delta.weight.device)
            delta.start_K = delta.start_K.to(delta.weight)  # rounded, if DeepSpeed has made the weight bf16 or fp16
        with gathered([delta.delta_K for delta in self.deltas.values()]):
            whole = []
            for delta in self.deltas.values():
                if delta.delta_K.dtype != torch.float32:
                    delta = replace(delta, delta_K=nn.Parameter(delta.delta_K.float(), requires_grad=False))
                if is_partitioned(delta.weight):
                    write_entries(delta.weight, delta.indices_K, delta.values())
                else:
                    whole.append(delta)
            write_deltas(whole)

    def head(self) -> dict[str, nn.Parameter]:
        """Return the parameters that train densely: all trainable ones except the deltas."""
        ours = {id(delta.delta_K) for delta in self.deltas.values()}
        return {n: p for n, p in self.model.named_parameters() if p.requires_grad and id(p) not in ours}

    def fine_tuning(self, name: str = "sparse fine-tuning") -> SparseFineTuning:
        """Return the deltas and the head as an SFT, in fp32 on the CPU. Call it on every rank.

        If DeepSpeed holds parameters in bf16 or fp16, the values are those of its fp32 master copies.
        """
        sparse = {
            n: SparseDiff(full_shape(d.weight), d.indices_K.cpu().clone(), full_fp32(d.delta_K))
            for n, d in self.deltas.items()
        }
        dense = {n: full_fp32(p) for n, p in self.head().items()}
        return SparseFineTuning(name, sparse, dense, dict(self.metadata))

    @torch.no_grad()
    def load(self, fine_tuning: SparseFineTuning) -> None:
        """Load the values and the head of an SFT; deltas of entries that the SFT does not change become 0.

        Do not call it after DeepSpeed has partitioned the deltas.

        Raises:
            InputError: the SFT changes an entry without a delta, or was made for another base model.
        """
        check_base(fine_tuning, self.metadata)
        if unknown := sorted(set(fine_tuning.sparse) - set(self.deltas)):
            raise InputError(f"SFT {fine_tuning.name}: {unknown[0]} is not trained here")
        for name, delta in self.deltas.items():
            values_K = torch.zeros(len(delta.indices_K))
            if (diff := fine_tuning.sparse.get(name)) is not None:
                places = torch.searchsorted(delta.indices_K.cpu(), diff.indices_K).clamp(max=len(values_K) - 1)
                if not torch.equal(delta.indices_K.cpu()[places], diff.indices_K):
                    raise InputError(f"SFT {fine_tuning.name}: {name} has entries that are not trained here")
                values_K[places] = diff.values_K.float()
            delta.delta_K.copy_(values_K)
        load_dense(self.model, fine_tuning.dense)
        self.write()


def load_dense(model: nn.Module, dense: Mapping[str, Tensor]) -> None:
    """Write whole tensors (of heads) into a model, even if ZeRO-3 has partitioned it.

    Raises:
        InputError: a tensor does not fit the model.
    """
    names = ParameterNames(model)
    for name, tensor in dense.items():
        parameter = names.find(name)
        if parameter is None or full_shape(parameter) != tuple(tensor.shape):
            raise InputError(f"{name} {list(tensor.shape)} does not fit this model: give the SFT's own task and labels")
        write_whole(parameter, tensor)


def check_base(fine_tuning: SparseFineTuning, metadata: Mapping[str, Any]) -> None:
    """Raise InputError if the fine-tuning and `metadata` have different hashes of the base model.

    If either has no hash, the check passes.
    """
    theirs, ours = fine_tuning.metadata, metadata
    if theirs.get("base_hash") and ours.get("base_hash") and theirs["base_hash"] != ours["base_hash"]:
        bases = [f"{of.get('base_model', 'a model')} (weights {of['base_hash'][:12]})" for of in (theirs, ours)]
        raise InputError(f"{fine_tuning.name} was made for {bases[0]}, not for {bases[1]}")


def attach(
    model: nn.Module, selection: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None
) -> SparseDeltas:
    """Freeze the base model and give each selected weight a delta of zeros.

    Call it before DeepSpeed wraps the model; if ZeRO-3 partitioned the model on loading, call it on every rank.
    Parameters outside the base model keep their `requires_grad`.

    Args:
        selection: name of a maskable parameter (see `maskable_parameters`) → flat row-major indices [K], ascending.

    Raises:
        InputError: a name is not that of a maskable parameter, or its module is no plain Linear or Embedding.
    """
    maskable = maskable_parameters(model)
    if unknown := sorted(set(selection) - set(maskable)):
        raise InputError(f"{unknown[0]} is selected, but is no weight of this model's base that may be")
    modules = dict(model.named_modules(remove_duplicate=False))
    places: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        places.setdefault(parameter, []).append(name)
    freeze_base(model)
    deltas = {}
    for name, indices_K in sorted(selection.items()):
        if not len(indices_K):
            continue
        parameter = maskable[name]
        with gathered([parameter]):
            delta = SparseDelta.of(parameter, indices_K.to(parameter.device))
        if is_partitioned(parameter):  # ZeRO-3 wants one dtype for all parameters; it keeps fp32 copies itself
            delta.delta_K.data = delta.delta_K.data.to(parameter.dtype)
        for place in places[parameter]:
            owner, _, kind = place.rpartition(".")
            module = make_sparse(modules[owner], owner)
            module.register_parameter(f"{kind}{DELTA}", delta.delta_K)
            module.trained[kind] = delta
        deltas[name] = delta
    attached = SparseDeltas(unwrap(model), deltas, metadata or {})
    unwrap(model)._sparse_deltas = attached  # type: ignore[assignment]
    unwrap(model).register_load_state_dict_post_hook(_frozen_may_be_missing)
    return attached


def attached_to(model: nn.Module) -> SparseDeltas | None:
    """Return the deltas that `attach` gave this model, or None."""
    return getattr(unwrap(model), "_sparse_deltas", None)


def freeze_base(model: nn.Module) -> None:
    """Stop every parameter of the base model from training."""
    base_model_of(model)[1].requires_grad_(False)


class WriteDeltas(TrainerCallback):
    """Callback that writes the deltas into the weights after every optimizer step, under DeepSpeed too.

    It also writes them before the first step, because a checkpoint may have been loaded.
    """

    def __init__(self, deltas: SparseDeltas) -> None:
        self.deltas = deltas

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.deltas.write()

    on_optimizer_step = on_train_begin


def _frozen_may_be_missing(model: nn.Module, incompatible: Any) -> None:
    """Remove frozen parameters and buffers from the list of missing keys.

    Checkpoints hold only trained parameters. The frozen parameters were loaded from the base model's folder.
    """
    frozen = {n for n, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
    buffers = {name for name, _ in model.named_buffers()}
    incompatible.missing_keys[:] = [n for n in incompatible.missing_keys if n not in frozen | buffers]
