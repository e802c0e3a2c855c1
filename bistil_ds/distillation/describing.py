"""Describe a student that was passed from Python. The files are the same as for a student that the command builds."""

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

IN_MEMORY = "in-memory"  # used in place of the name of a model or text that has no name


def describe_student(
    teacher: PreTrainedModel,
    languages: Sequence[str],
    layer_map: Sequence[int],
    projections: Sequence[Tensor] | None,
    sfts: Mapping[str, SparseFineTuning | None],
) -> StudentFiles:
    """Return the content of a student's files. The text is in memory, so its licence is unknown.

    Args:
        teacher: the student's teacher; if `trim_model` trimmed it, the teacher carries the ids of the kept tokens.
        languages, layer_map, projections: see `StudentFiles`.
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
