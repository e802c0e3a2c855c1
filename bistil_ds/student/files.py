"""The content of a student's own files, which lie beside weights and tokenizer, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from bistil_ds.student.folder import ALIGNMENT, ORIGIN, PROJECTIONS, write_alignment
from bistil_ds.student.origin import Origin, write_origin
from bistil_ds.student.projections import save_projections
from bistil_ds.vocabulary.embeddings import Trimming
from bistil_ds.vocabulary.kept_ids import FILE_NAME, save_kept_ids


@dataclass(frozen=True)
class StudentFiles:
    """What phase 2 and export must know of a student.

    Attributes:
        teacher: folder or hub id of the teacher.
        languages: codes of the languages of the text, one or more.
        layer_map: the 0-based teacher layer of each student layer.
        trimming: which of the teacher's tokens the student keeps; None if it keeps all.
        projections: fp32 [teacher width, student width] for each aligned state, where the widths differ.
        origin: licences of the models and data that the student is made from, and the teacher's languages.
    """

    teacher: str
    languages: Sequence[str]
    layer_map: Sequence[int]
    trimming: Trimming | None
    projections: Sequence[Tensor] | None
    origin: Origin

    def write(self, folder: Path, *, replace: bool = True) -> None:
        """Write the files into an existing folder; with `replace` False, only those that it lacks."""

        def wanted(name: str) -> bool:
            return replace or not (folder / name).exists()

        if self.trimming is not None and wanted(FILE_NAME):
            save_kept_ids(folder, self.trimming.kept_ids, self.trimming.base_vocab_size)
        if self.projections is not None and wanted(PROJECTIONS):
            save_projections(folder, self.projections)
        if wanted(ALIGNMENT):
            write_alignment(folder, teacher=self.teacher, languages=self.languages, layer_map=self.layer_map)
        if wanted(ORIGIN):
            write_origin(folder, self.origin)
