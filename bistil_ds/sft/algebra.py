"""Add and subtract sparse fine-tunings (SFTs), and take the difference of two models."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from bistil_ds.errors import InputError
from bistil_ds.models.parameters import saved_parameters
from bistil_ds.sft.changes import SparseDiff

Weights = nn.Module | Mapping[str, Tensor]


def add_sparse(
    names: tuple[str, str], one: Mapping[str, SparseDiff], other: Mapping[str, SparseDiff], sign: int
) -> dict[str, SparseDiff]:
    """Return `one + sign · other` on the union of their entries; sums are computed in fp32 or wider.

    Raises:
        InputError: the two SFTs give a parameter different shapes.
    """
    total = dict(one)
    for name, diff in other.items():
        own = _same_parameter(name, total)
        if own not in total:
            total[name] = SparseDiff(diff.shape, diff.indices_K, diff.values_K.float() * sign)
        elif total[own].shape != diff.shape:
            raise InputError(
                f"SFT {names[0]} changes {own} as {list(total[own].shape)}, SFT {names[1]} as {list(diff.shape)}: they "
                "were made for two models"
            )
        else:
            total[own] = _sum(total[own], diff, sign)
    return total


def _sum(one: SparseDiff, other: SparseDiff, sign: int) -> SparseDiff:
    both = torch.cat([one.indices_K.long(), other.indices_K.long()])
    indices_K, place = torch.unique(both, return_inverse=True)  # ascending
    dtype = torch.promote_types(torch.promote_types(one.values_K.dtype, other.values_K.dtype), torch.float32)
    values_K = torch.zeros(len(indices_K), dtype=dtype)
    for diff, where, factor in ((one, place[: len(one.indices_K)], 1), (other, place[len(one.indices_K) :], sign)):
        values_K[where] += diff.values_K.to(dtype) * factor  # += is safe: one SFT's indices are distinct
    return SparseDiff(one.shape, indices_K, values_K)


def _same_parameter(name: str, known: Collection[str]) -> str:
    """Return the name in `known` that means the same parameter as `name`; without such a name, return `name`.

    `encoder.x` and `bert.encoder.x` are spellings of one parameter (see `ParameterNames`).
    """
    if name in known:
        return name
    shorter = name.partition(".")[2]
    longer = (other for other in known if other.partition(".")[2] == name)
    return shorter if shorter in known else next(longer, name)


def add_dense(names: tuple[str, str], one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the whole tensors (of heads) of both SFTs.

    Raises:
        InputError: both have a tensor of the same name, with different values.
    """
    for name in one.keys() & other.keys():
        if not _equal(one[name], other[name]):
            raise InputError(f"SFTs {names[0]} and {names[1]} both bring {name}, and not the same: leave one out")
    return {**one, **other}


def check_apart(sft: str, dense: Collection[str], other: str, sparse: Collection[str]) -> None:
    """Raise InputError if the SFT `other` changes entries of a parameter that the SFT `sft` replaces as a whole."""
    for name in sparse:
        if _same_parameter(name, dense) in dense:
            raise InputError(
                f"SFT {sft} replaces {name} as a whole, SFT {other} changes entries of it: they cannot become one SFT"
            )


def subtract_dense(names: tuple[str, str], one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the whole tensors of `one` that `other` does not have.

    Raises:
        InputError: both have a tensor of the same name, with different values.
    """
    return {name: tensor for name, tensor in add_dense(names, one, other).items() if name in one and name not in other}


def difference(
    before: Weights, after: Weights, indices: Mapping[str, Tensor] | None, heads: Collection[str]
) -> tuple[dict[str, SparseDiff], dict[str, Tensor]]:
    """Return the sparse and the dense difference of two models; see `SparseFineTuning.between`."""
    old, new = _named(before), _named(after)
    sparse, dense = {}, {}
    for name, tensor in new.items():
        if name not in old or name in heads:
            dense[name] = tensor.clone()
        elif old[name].shape != tensor.shape:
            raise InputError(f"{name} is {list(old[name].shape)} before and {list(tensor.shape)} after: not one model")
        else:
            start, end = old[name].reshape(-1), tensor.reshape(-1)
            if indices is None:
                chosen_K = torch.nonzero(start != end).squeeze(1)
            elif name in indices:
                chosen_K = indices[name].long().cpu()
            else:
                continue
            if len(chosen_K):
                moved_K = end[chosen_K].float() - start[chosen_K].float()
                sparse[name] = SparseDiff(tuple(tensor.shape), chosen_K, moved_K)
    return sparse, dense


def _named(weights: Weights) -> dict[str, Tensor]:
    """Return name → tensor on the CPU; tied parameters of a model appear once."""
    pairs = saved_parameters(weights).items() if isinstance(weights, nn.Module) else weights.items()
    return {name: tensor.detach().cpu() for name, tensor in pairs}


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.cpu(), other.cpu())
