"""Deltas: 1-D parameters with the changes to K entries of a weight.

The weight itself gets no gradient; after each step its K entries are overwritten with their start values + delta.

So gradients, their exchange between ranks, clipping and optimizer state have K entries at every ZeRO stage. DeepSpeed
knows nothing of a mask: it sees a model with few, small trainable parameters.

The optimizer is torch's AdamW and not `SparseAdamW`, with DeepSpeed and without. `SparseAdamW` steps a whole delta
together with its weight. DeepSpeed steps flat fp32 partitions, which know of no weight and may cut a delta in two. The
head, which trains densely, has to be in the same optimizer as well. One optimizer everywhere means one schedule and one
kind of state.

Weights are written after the step, so that no optimizer needs to know of them. At ZeRO-3 each rank writes into its own
partition and not into the gathered weight in the forward pass. ZeRO-3 drops that copy once its module has run, and
gathers it anew in backward, in recomputation, in each micro-step and in validation: each new copy would have to be
written again. A partition that is
written once a step is right for everything that later gathers or reads it. To write it, only the deltas are gathered.
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
    """The deltas of one model, by the name of the weight they belong to.

    Attributes:
        deltas: name → weight, indices [K] ascending, start [K] and delta [K]. The delta is a parameter of the weight's
            module. Where several modules share a tied weight, each of them has the delta, and its gradients add up.
        metadata: the metadata of every sparse fine-tuning (SFT) made of these deltas.
    """

    def __init__(self, model: nn.Module, deltas: dict[str, SparseDelta], metadata: Mapping[str, Any]) -> None:
        self.model, self.deltas, self.metadata = model, deltas, dict(metadata)

    @torch.no_grad()
    def write(self) -> None:
        """Make every weight hold start + delta.

        Call it after a step of any optimizer and after a checkpoint is loaded. Every rank takes part. At ZeRO-3 it
        writes this rank's share of each weight, and the gathered copy where there is one.
        """
        for delta in self.deltas.values():
            delta.indices_K = delta.indices_K.to(delta.weight.device)
            delta.start_K = delta.start_K.to(delta.weight)  # rounded where an engine has made the weight bf16 or fp16
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
        """Return the deltas and the head as an SFT in fp32 on the CPU. Every rank takes part.

        Where an engine holds parameters in bf16 or fp16, the values come from its fp32 masters.
        """
        sparse = {
            n: SparseDiff(full_shape(d.weight), d.indices_K.cpu().clone(), full_fp32(d.delta_K))
            for n, d in self.deltas.items()
        }
        dense = {n: full_fp32(p) for n, p in self.head().items()}
        return SparseFineTuning(name, sparse, dense, dict(self.metadata))

    @torch.no_grad()
    def load(self, fine_tuning: SparseFineTuning) -> None:
        """Load the values and the head of an SFT whose entries are all among these deltas; others become 0.

        Do not call it after an engine has partitioned the deltas.

        Raises:
            InputError: the SFT has other entries, or was made for another base.
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
    """Write whole tensors (heads) into a model, partitioned or not.

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
    """Raise InputError when fine-tuning and `metadata` both hold the hash of their base model and the two differ."""
    theirs, ours = fine_tuning.metadata, metadata
    if theirs.get("base_hash") and ours.get("base_hash") and theirs["base_hash"] != ours["base_hash"]:
        bases = [f"{of.get('base_model', 'a model')} (weights {of['base_hash'][:12]})" for of in (theirs, ours)]
        raise InputError(f"{fine_tuning.name} was made for {bases[0]}, not for {bases[1]}")


def attach(
    model: nn.Module, selection: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None
) -> SparseDeltas:
    """Freeze the base model and give each selected weight a delta of zeros.

    Call it before the model is wrapped or partitioned further. Where ZeRO-3 partitioned the model on loading, every
    rank takes part. Parameters outside the base model keep training, or stay frozen, as they were.

    Args:
        selection: name (see `maskable_parameters`) → flat row-major indices [K], ascending.

    Raises:
        InputError: a name is not maskable, or it is not known how a module uses its weights.
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
        if is_partitioned(parameter):  # ZeRO-3 wants one dtype for all parameters; it keeps fp32 masters itself
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
    """Callback that writes the weights after every optimizer step, also under DeepSpeed and gradient accumulation.

    It writes them before the first step too, because a checkpoint may have been loaded.
    """

    def __init__(self, deltas: SparseDeltas) -> None:
        self.deltas = deltas

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.deltas.write()

    on_optimizer_step = on_train_begin


def _frozen_may_be_missing(model: nn.Module, incompatible: Any) -> None:
    """Take frozen parameters and buffers off the list of missing keys.

    Checkpoints hold what trains. The frozen rest is the base, which was loaded from its own folder.
    """
    frozen = {n for n, p in model.named_parameters(remove_duplicate=False) if not p.requires_grad}
    buffers = {name for name, _ in model.named_buffers()}
    incompatible.missing_keys[:] = [n for n in incompatible.missing_keys if n not in frozen | buffers]
