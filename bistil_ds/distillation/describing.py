"""Describe a student that is trained in memory as the command describes the one it builds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor
from transformers import PreTrainedModel

from bistil_ds.models.licences import UNKNOWN, data_licences, merge_licences
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sft.metadata import licences_of
from bistil_ds.student.files import StudentFiles
from bistil_ds.student.origin import Origin, known_languages, model_licences
from bistil_ds.vocabulary.embeddings import trimming_of

IN_MEMORY = "in-memory"  # stands for the name of a model or a text that has none


def describe_student(
    teacher: PreTrainedModel,
    languages: Sequence[str],
    layer_map: Sequence[int],
    projections: Sequence[Tensor] | None,
    sfts: Mapping[str, SparseFineTuning | None],
) -> StudentFiles:
    """Return what a student's folder says of it; the licence of text in memory is unknown.

    Args:
        teacher: its teacher; `trim_model` notes on it which tokens were kept.
        languages, layer_map, projections: as for `StudentFiles`.
        sfts: language → the sparse fine-tuning (SFT) that the teacher carries, or None.
    """
    name = str(teacher.name_or_path or "")
    licences = merge_licences(
        model_licences(name) if name else {f"model {IN_MEMORY}": UNKNOWN},
        *(licences_of(sft.name, sft.metadata) for sft in sfts.values() if sft),
        data_licences([(language, IN_MEMORY) for language in languages], None),
    )
    origin = Origin(licences, known_languages(name) if name else ())
    return StudentFiles(name or IN_MEMORY, languages, layer_map, trimming_of(teacher), projections, origin)
