"""Swap the teacher's language fine-tuning between batches without rounding, in whole models and ZeRO-3 partitions.

In BiStil the teacher carries the sparse fine-tuning (SFT) of the batch's language. To add an SFT's differences and
subtract them again would change the weights by rounding. Instead, tables hold the values with and without each SFT,
computed once from the fp32 weights on disk, and a swap copies values from the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bistil_ds.console.progress import progress_bar
from bistil_ds.distributed.partitions import (
    entries_between,
    free_gathered,
    full_size,
    parts,
    range_held,
    wait_for_writes,
)
from bistil_ds.errors import InputError
from bistil_ds.models.parameters import ParameterNames
from bistil_ds.models.weight_files import WeightFolder
from bistil_ds.sft.changes import Change
from bistil_ds.sft.fine_tuning import SparseFineTuning


@dataclass(frozen=True)
class _Table:
    """One parameter's values with and without an SFT, at the entries that the SFT changes and this rank holds.

    Attributes:
        indices_K: flat indices [K] into the whole parameter, ascending.
        with_K, without_K: values [K] in the parameter's dtype.
        start, stop: the entries [start, stop) of the flat parameter, which the table covers (from `range_held`).
    """

    parameter: Any  # nn.Parameter, with DeepSpeed's ds_* attributes under ZeRO-3
    indices_K: torch.Tensor
    with_K: torch.Tensor
    without_K: torch.Tensor
    start: int
    stop: int


class LanguageSwitch:
    """Switch that puts one language's SFT at a time on a teacher.

    Args:
        teacher: the model, or the DeepSpeed engine around it; its weights are those in `folder`, cast to its dtype.
        folder: the teacher's model folder (safetensors), read one tensor at a time.
        fine_tunings: language → its SFT; None if the teacher stays unchanged for this language.

    Raises:
        InputError: an SFT was made for another model, or the teacher does not hold the weights of `folder`.
    """

    def __init__(
        self, teacher: nn.Module, folder: str | Path, fine_tunings: Mapping[str, SparseFineTuning | None]
    ) -> None:
        self.language: str | None = None
        names, weights = ParameterNames(teacher), WeightFolder(folder)
        self._tables: dict[str | None, list[_Table]] = {None: []}
        for language, fine_tuning in fine_tunings.items():
            changes = fine_tuning.changes(teacher) if fine_tuning is not None else []
            progress = progress_bar(changes, f"reading the {language} SFT", delay=2, leave=False)
            self._tables[language] = [_tabulate(change, names, weights) for change in progress]

    def switch_to(self, language: str | None) -> None:
        """Put the SFT of `language` (None: no SFT) in place of the present one; do nothing if it is there already.

        Call it between forward passes, on every rank with the same language.

        Raises:
            KeyError: `fine_tunings` has no entry for the language.
        """
        coming = self._tables[language]
        if language == self.language:
            return
        for table in self._tables[self.language]:
            _write(table, table.without_K)
        for table in coming:
            _write(table, table.with_K)
        self.language = language


def _tabulate(change: Change, names: ParameterNames, weights: WeightFolder) -> _Table:
    parameter: Any = change.parameter
    stored = next((name for name in names.names_of(parameter) if name in weights), None)
    if stored is None:
        raise InputError(
            f"{weights.folder} has no weight {change.name}, which an SFT changes: give the teacher's own folder"
        )
    base = weights[stored].reshape(-1)
    if base.numel() != (size := full_size(parameter)):
        raise InputError(f"{weights.folder}: {stored} has {base.numel()} values, the teacher's has {size}")
    start, stop = range_held(parameter)
    indices_K = torch.arange(base.numel()) if change.indices_K is None else change.indices_K
    here = entries_between(indices_K, start, stop)
    indices_K, base_K = indices_K[here], base[indices_K[here]].float()
    values_K = change.values.reshape(-1)[here].float()
    changed_K = values_K if change.indices_K is None else base_K + values_K
    flat = parts(parameter)[0][0]
    table = _Table(
        parameter,
        indices_K.to(flat.device),
        changed_K.to(flat.dtype).to(flat.device),
        base_K.to(flat.dtype).to(flat.device),
        start,
        stop,
    )
    for part, first, where in _places(table):
        found_K = part[(table.indices_K[where] - first).to(part.device)]
        if not torch.equal(found_K, table.without_K[where].to(part.device)):
            raise InputError(
                f"the teacher's {change.name} is not the one in {weights.folder}: load the teacher from there"
            )
    return table


def _write(table: _Table, values_K: torch.Tensor) -> None:
    for part, first, where in _places(table):
        part[(table.indices_K[where] - first).to(part.device)] = values_K[where].to(part.device)
        wait_for_writes(table.parameter, part)


def _places(table: _Table) -> Iterator[tuple[torch.Tensor, int, slice]]:
    """Yield each tensor that holds entries of the table's parameter.

    An item is (flat tensor, index of the tensor's first entry in the flat parameter, the table's rows in the tensor).
    """
    for part, first in parts(table.parameter):
        last = first + part.numel()
        if first < table.start or min(last, full_size(table.parameter)) > table.stop:
            # This tensor is a gathered copy of more than the table covers. Free the copy: the parameter's next use
            # gathers it again, from the partitions that the swap has written.
            free_gathered(table.parameter)
            continue
        whole = first <= table.start and last >= table.stop  # then no search is needed, which would wait for the GPU
        yield part, first, slice(None) if whole else entries_between(table.indices_K, first, last)
