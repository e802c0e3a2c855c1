"""Gather the licences of the models, fine-tunings and data from which a training run makes its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bistil_ds.models.licences import data_licences, merge_licences
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sft.metadata import licences_of
from bistil_ds.student.origin import model_licences


def gather_licences(
    models: Mapping[str, str | None],
    sfts: Sequence[str],
    data: Sequence[tuple[str, str]],
    data_licence: Sequence[str] | None,
) -> dict[str, str]:
    """Return part → licence for models, fine-tunings, data, and the parts that their own records list.

    Args:
        models: folder or hub id → the licence that the user stated; None for the one on its card.
        sfts: folders or hub ids of sparse fine-tunings.
        data: (language, file or hub data set) for each text.
        data_licence: words of `--data_licence`: a licence for all data, or `LANGUAGE=LICENCE`.

    Raises:
        InputError: a fine-tuning, an `origin.json` or a licence cannot be read.
    """
    loaded = [SparseFineTuning.load(name) for name in sfts]
    return merge_licences(
        *(model_licences(model, licence) for model, licence in models.items()),
        *(licences_of(sft.name, sft.metadata) for sft in loaded),
        data_licences(data, data_licence),
    )
