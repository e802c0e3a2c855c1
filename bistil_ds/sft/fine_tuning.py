"""Sparse fine-tunings (SFTs): changes to a few entries of a model's weights, applied and reverted to the bit.

The method is LT-SFT (arXiv 2110.07560); see also section 2 of the BiStil paper. Indices are flat and row-major.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bistil_ds.distributed.partitions import is_partitioned
from bistil_ds.errors import InputError
from bistil_ds.models.hub_folder import local_folder
from bistil_ds.models.weight_files import WEIGHT_FILES, hash_weights
from bistil_ds.sft.algebra import Weights, add_dense, add_sparse, check_apart, difference, subtract_dense
from bistil_ds.sft.changes import Change, SparseDiff, find_changes
from bistil_ds.sft.folder import HEADER_FILE, TENSORS_FILE, read_folder, write_folder
from bistil_ds.sft.metadata import check_metadata, check_task, merge_metadata, without_density
from bistil_ds.sft.published import PUBLISHED_FILE, read_published, write_published
from bistil_ds.sft.restriction import restrict
from bistil_ds.sft.stack import Layer, put_on, replace, tokens_on


@dataclass(eq=False)
class SparseFineTuning:
    """Sparse fine-tuning: differences for a base model, whole tensors for heads that the base lacks, and metadata.

    Example:
        >>> from bistil_ds import SparseFineTuning
        >>> sft = SparseFineTuning.between(model, tuned_model, name="task")
        >>> sft.apply(model)  # model now computes what tuned_model does
        >>> sft.revert(model)  # and now what it did before, to the bit

    Attributes:
        name: how messages call the SFT; for a loaded SFT, its folder or hub id.
        sparse: parameter name → `SparseDiff`.
        dense: parameter name → the whole tensor, which replaces the model's.
        metadata: a JSON object; `SftMetadata` describes its known keys, all of which are optional.

    Raises:
        InputError: raised by the methods for a file, a model or another SFT that cannot be used or does not fit.

    Source: LT-SFT (arXiv 2110.07560); BiStil (arXiv 2306.01709), section 2.
    """

    name: str
    sparse: dict[str, SparseDiff]
    dense: dict[str, torch.Tensor] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    _token: str = field(default_factory=lambda: uuid.uuid4().hex, repr=False, compare=False)

    @classmethod
    def load(cls, source: str | Path) -> SparseFineTuning:
        """Read an SFT in our format, or else in the published one; code in the file is never run.

        Raises:
            InputError: `source` does not exist, is damaged, is not an SFT, or has values that are not finite.
        """
        folder = local_folder(source, "SFT", [TENSORS_FILE, HEADER_FILE, PUBLISHED_FILE])
        name = str(source)
        metadata: dict[str, Any] = {}
        if (folder / HEADER_FILE).is_file():
            raw, dense, metadata = read_folder(folder)
            check_metadata(name, metadata)
        elif (folder / PUBLISHED_FILE).is_file():
            published, dense = read_published(folder / PUBLISHED_FILE)
            raw = {n: (shape, torch.from_numpy(flat), values) for n, (shape, flat, values) in published.items()}
        else:
            raise InputError(f"{name} is not an SFT: it holds neither {HEADER_FILE} nor {PUBLISHED_FILE}")
        sparse = {}
        for parameter, (shape, indices_K, values_K) in raw.items():
            try:
                sparse[parameter] = SparseDiff(shape, indices_K, values_K)
            except ValueError as error:
                raise InputError(f"SFT {name}: the difference for {parameter} is damaged: {error}") from error
        for parameter, values in {**dense, **{n: diff.values_K for n, diff in sparse.items()}}.items():
            if bad := values.numel() - int(values.isfinite().sum()):
                numbers = f"{bad} of {values.numel()} values for {parameter}"
                raise InputError(f"SFT {name}: {numbers} {'is' if bad == 1 else 'are'} not finite: train it again")
        return cls(name, sparse, dense, metadata)

    def save(self, folder: str | Path) -> None:
        """Write `sft.safetensors` and `sft.json`; if interrupted, leave the old SFT or files that `load` refuses."""
        check_metadata(self.name, self.metadata)
        write_folder(
            folder, {n: (d.shape, d.indices_K, d.values_K) for n, d in self.sparse.items()}, self.dense, self.metadata
        )

    def save_published(self, folder: str | Path) -> None:
        """Write `pytorch_diff.bin` as the published code does; that format has no place for `metadata`."""
        diffs = {n: (d.shape, d.indices_K.numpy(), d.values_K) for n, d in self.sparse.items()}
        write_published(Path(folder) / PUBLISHED_FILE, diffs, self.dense)

    @classmethod
    def between(
        cls,
        before: Weights,
        after: Weights,
        *,
        name: str,
        indices: Mapping[str, torch.Tensor] | None = None,
        heads: Collection[str] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> SparseFineTuning:
        """Return the SFT that leads from one model to another.

        Its values are fp32 differences, so `before` plus a difference may miss `after` by one rounding.

        Args:
            before, after: models (not partitioned by ZeRO-3), or name → tensor with each tied weight listed once.
            indices: parameter name → sorted flat indices to keep; None keeps every index at which the two differ.
            heads: names of parameters to keep whole; those that `before` lacks are kept whole anyway.

        Raises:
            InputError: a parameter has another shape in `after` than in `before`.
        """
        return cls(name, *difference(before, after, indices, heads), dict(metadata or {}))

    def add(self, other: SparseFineTuning) -> SparseFineTuning:
        """Return the SFT that makes both changes (LT-SFT: base + language + task); also written `self + other`.

        Entries are summed in fp32 or wider. Applying the sum rounds once; applying one after the other rounds twice.

        Raises:
            InputError: the two were made for different base models or tasks; they disagree on a shape or on a head; or
                one of them replaces a whole parameter of which the other changes entries.
        """
        return self._combine(other, "+")

    def subtract(self, other: SparseFineTuning) -> SparseFineTuning:
        """Return this SFT without `other`; also written `self - other`.

        Heads that both SFTs have are left out. If any is, the metadata loses its task, labels and longest input.

        Raises:
            InputError: for the reasons that `add` lists.
        """
        return self._combine(other, "-")

    __add__, __sub__ = add, subtract

    def _combine(self, other: SparseFineTuning, sign: str) -> SparseFineTuning:
        names = (self.name, other.name)
        metadata = merge_metadata(names, self.metadata, other.metadata)
        check_apart(self.name, self.dense, other.name, other.sparse)
        check_apart(other.name, other.dense, self.name, self.sparse)
        sparse = add_sparse(names, self.sparse, other.sparse, +1 if sign == "+" else -1)
        dense = (add_dense if sign == "+" else subtract_dense)(names, self.dense, other.dense)
        if sign == "-":
            metadata = without_density(self.metadata, keep_task=len(dense) == len(self.dense))
        return SparseFineTuning(f"{self.name} {sign} {other.name}", sparse, dense, metadata)

    def check_task(self, task: str) -> None:
        """Raise InputError when this SFT was made for another task.

        An SFT without a task goes with any task, and so does a language SFT.
        """
        check_task(self.name, self.metadata, task)

    def check_base(self, source: str | Path) -> None:
        """Raise InputError when this SFT was made for other weights than those of `source`; the message names both.

        An SFT whose metadata has no hash of its base passes.

        Args:
            source: folder or hub id of the untrimmed model; all its weights are read once.
        """
        wanted_hash = self.metadata.get("base_hash")
        if wanted_hash and (found_hash := hash_weights(local_folder(source, "model", WEIGHT_FILES))) != wanted_hash:
            base = self.metadata.get("base_model", "an unnamed model")
            raise InputError(
                f"SFT {self.name} was made for {base} (weights {wanted_hash[:12]}), not for {source} "
                f"(weights {found_hash[:12]}): give the model it was made for"
            )

    def changes(self, model: nn.Module) -> list[Change]:
        """Return one `Change` for each parameter of `model` that this SFT changes; tied parameters share one.

        Tensors of `dense` that the model lacks are left out.

        Raises:
            InputError: the model lacks a parameter of `sparse`, has a parameter in another shape, or ties two
                parameters that the SFT changes differently.
        """
        return find_changes(self.name, self.sparse, self.dense, model)

    def apply(self, model: nn.Module, *, check_base: str | Path | None = None) -> None:
        """Change the model in place; sums are computed in fp32 and rounded once to the parameter's dtype.

        Args:
            model: must not be partitioned (under ZeRO-3 use `LanguageSwitch`). Other SFTs may be applied to it already.
            check_base: folder or hub id of the model; if given, the method `check_base` is called with it first.

        Raises:
            InputError: the SFT was made for another model.
            RuntimeError: this SFT is already applied, or a parameter is partitioned.
        """
        if check_base is not None:
            self.check_base(check_base)
        put_on(model, self._layer(model))

    def revert(self, model: nn.Module) -> None:
        """Undo `apply`: every bit is as if this SFT had never been applied, even if other SFTs were applied later.

        Entries that were trained after `apply` also return to their values before `apply`.

        Raises:
            RuntimeError: this SFT is not applied.
        """
        self._replace(model, [])

    def swap(self, model: nn.Module, other: SparseFineTuning) -> None:
        """Replace this SFT by `other`: every bit is as if `other` had been applied instead.

        Raises:
            InputError: `other` was made for another model.
            RuntimeError: this SFT is not applied, or `other` already is.
        """
        self._replace(model, [other._layer(model)])

    def _layer(self, model: nn.Module) -> Layer:
        if self._token in tokens_on(model):
            raise RuntimeError(f"SFT {self.name} is already applied to this model; revert it first")
        changes = self.changes(model)
        if any(is_partitioned(change.parameter) for change in changes):
            raise RuntimeError("this model is partitioned by ZeRO-3; apply the SFT before, or use LanguageSwitch")
        return self._token, changes

    def _replace(self, model: nn.Module, new: list[Layer]) -> None:
        if self._token not in tokens_on(model):
            raise RuntimeError(f"SFT {self.name} is not applied to this model")
        replace(model, self._token, new)

    def restrict(self, kept_ids: np.ndarray, base_vocab_size: int) -> SparseFineTuning:
        """Return the same SFT for a model trimmed to `kept_ids`; entries of rows that trimming dropped are left out.

        Args:
            kept_ids: int64 [kept], sorted old ids; new id n is old id `kept_ids[n]`.
            base_vocab_size: rows of the untrimmed embeddings.

        Raises:
            InputError: the SFT changes an embedding or output layer whose number of rows is not
                `base_vocab_size`.
        """
        sparse, dense = restrict(self.name, self.sparse, self.dense, kept_ids, base_vocab_size)
        return SparseFineTuning(self.name, sparse, dense, dict(self.metadata))
