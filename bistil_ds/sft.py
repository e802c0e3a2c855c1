"""Sparse fine-tunings (SFTs): a few changed entries of a model's weights, put on and taken off with exact bits.

Section 2 of the BiStil paper; the method is LT-SFT (arXiv 2110.07560). Indices are flat and row-major.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from torch import nn

from bistil_ds.errors import InputError
from bistil_ds.model_parameters import unwrap
from bistil_ds.sft_changes import Change, SparseDiff, find_changes
from bistil_ds.sft_folder import HEADER_FILE, TENSORS_FILE, read_folder, write_folder
from bistil_ds.sft_published import PUBLISHED_FILE, read_published
from bistil_ds.weight_files import hash_weights

# Parameters with a row (or an entry) for each vocabulary item: word embeddings, output layers and their biases.
_VOCABULARY_NAME = re.compile(
    r"(word_embeddings|embed_tokens|decoder|vocab_projector)\.(weight|bias)$|(lm_head|predictions)\.bias$"
)


@dataclass(eq=False)
class SparseFineTuning:
    """Sparse differences for a base model, dense tensors for what it lacks (heads), and what it was made for.

    Attributes:
        name: how messages call it; the folder or hub id it was loaded from.
        sparse: parameter name → `SparseDiff`.
        dense: parameter name → the whole tensor, which replaces the model's.
        metadata: JSON; `base_model` (id), `base_hash` (see `hash_weights`), `task`, `languages`, `density` where known.
    """

    name: str
    sparse: dict[str, SparseDiff]
    dense: dict[str, torch.Tensor] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    _token: str = field(default_factory=lambda: uuid.uuid4().hex, repr=False, compare=False)

    @classmethod
    def load(cls, source: str | Path) -> SparseFineTuning:
        """Read our format or the published one, whichever is there; no code in the file is ever run.

        Raises:
            InputError: nothing there, damaged, or not an SFT.
        """
        folder, name = _local_folder(source), str(source)
        metadata: dict[str, Any] = {}
        if (folder / HEADER_FILE).is_file():
            raw, dense, metadata = read_folder(folder)
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
        return cls(name, sparse, dense, metadata)

    def save(self, folder: str | Path) -> None:
        """Write `sft.safetensors` and `sft.json`; a save that is interrupted never loads."""
        write_folder(
            folder, {n: (d.shape, d.indices_K, d.values_K) for n, d in self.sparse.items()}, self.dense, self.metadata
        )

    def changes(self, model: nn.Module) -> list[Change]:
        """Each parameter of `model` that this SFT changes, tied ones once; dense tensors it lacks are left out.

        Raises:
            InputError: a difference for a parameter the model does not have, or has in another shape.
        """
        return find_changes(self.name, self.sparse, self.dense, model)

    def apply(self, model: nn.Module, *, check_base: str | Path | None = None) -> None:
        """Change the model in place; the sum is taken in fp32 and rounded once to the parameter's dtype.

        Args:
            model: holds its parameters whole (under ZeRO-3 use `LanguageSwitch`).
            check_base: the folder the model came from; refused when its weights are not those this SFT was made for.

        Raises:
            InputError: made for another model. RuntimeError: already applied, or partitioned parameters.
        """
        applied = _applied(model)
        if self._token in [token for token, _ in applied]:
            raise RuntimeError(f"SFT {self.name} is already applied to this model; revert it first")
        wanted_hash = self.metadata.get("base_hash")
        if check_base is not None and wanted_hash and (found_hash := hash_weights(check_base)) != wanted_hash:
            base = self.metadata.get("base_model", "an unnamed model")
            raise InputError(
                f"SFT {self.name} was made for {base} (weights {wanted_hash[:12]}), not for {check_base} "
                f"(weights {found_hash[:12]}): give the model it was made for"
            )
        changes = self.changes(model)
        if any(hasattr(change.parameter, "ds_id") for change in changes):
            raise RuntimeError("this model is partitioned by ZeRO-3; apply the SFT before, or use LanguageSwitch")
        applied.append((self._token, [(change, change.put()) for change in changes]))

    def revert(self, model: nn.Module) -> None:
        """Take the SFT off again: every bit is as before `apply`.

        Raises:
            RuntimeError: it is not the one applied last, so taking it off would also undo another.
        """
        applied = _applied(model)
        if not applied or applied[-1][0] != self._token:
            there = self._token in [token for token, _ in applied]
            raise RuntimeError(f"SFT {self.name} is {'not the last one' if there else 'not'} applied to this model")
        for change, old in applied.pop()[1]:
            change.put_back(old)

    def restrict(self, kept_ids: np.ndarray, base_vocab_size: int) -> SparseFineTuning:
        """The same SFT for a model trimmed to `kept_ids`: entries of rows that went are dropped.

        Args:
            kept_ids: int64 [kept], sorted old ids; new id n is old id `kept_ids[n]`.
            base_vocab_size: rows of the untrimmed embeddings.

        Raises:
            InputError: the differences are for an embedding or output layer with another number of rows.
        """
        kept = torch.as_tensor(np.asarray(kept_ids), dtype=torch.int64)
        new_id_V = torch.full((base_vocab_size,), -1).index_copy(0, kept, torch.arange(len(kept)))
        sparse, dense = dict(self.sparse), dict(self.dense)
        for name in filter(_VOCABULARY_NAME.search, [*sparse, *dense]):
            if name in dense:
                dense[name] = dense[name][kept] if len(dense[name]) == base_vocab_size else dense[name]
            elif (rows := sparse[name].shape[0]) == base_vocab_size:
                sparse[name] = _restrict_rows(sparse[name], new_id_V, len(kept))
            else:
                raise InputError(f"SFT {self.name}: {name} has {rows} rows, the untrimmed model {base_vocab_size}")
        return SparseFineTuning(self.name, sparse, dense, dict(self.metadata))


def _restrict_rows(diff: SparseDiff, new_id_V: torch.Tensor, kept: int) -> SparseDiff:
    width = int(np.prod(diff.shape[1:]))
    flat_K = diff.indices_K.long()
    row_K = new_id_V[flat_K // width]
    stays_K = row_K >= 0
    indices_K = (row_K * width + flat_K % width)[stays_K]  # still ascending: kept ids keep their order
    return SparseDiff((kept, *diff.shape[1:]), indices_K, diff.values_K[stays_K])


def _applied(model: nn.Module) -> list[tuple[str, list[tuple[Change, torch.Tensor]]]]:
    """The SFTs on this model, first to last, with what they replaced; kept on it, so that copies have theirs."""
    owner = unwrap(model)
    if not hasattr(owner, "_applied_sfts"):
        owner._applied_sfts = []  # type: ignore[assignment]
    return owner._applied_sfts  # type: ignore[return-value]


def _local_folder(source: str | Path) -> Path:
    if (path := Path(source)).is_dir():
        return path
    try:
        return Path(snapshot_download(str(source), allow_patterns=[TENSORS_FILE, HEADER_FILE, PUBLISHED_FILE]))
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = type(error).__name__
        raise InputError(
            f"no SFT at {source}: neither a folder here nor a hub id that can be fetched ({reason})"
        ) from error
