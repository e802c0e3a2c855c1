"""What a phase-1 run is asked to do: teacher, text, student, losses and training, with every default filled in."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from bistil_ds import text
from bistil_ds.distillation.arguments import LossArguments
from bistil_ds.training.request import TrainingRequest


@dataclass(frozen=True)
class Corpus:
    """Text of one language.

    Args:
        side: source or target.
        language: the language's code.
        file: a text file, a folder of text files, or the id of a hub dataset.
        column: column with the text, in data that has columns.
        sft: the sparse fine-tuning (SFT) that the teacher carries on this language's batches, if any.
        most: read this many texts at most; None reads all.
    """

    side: str
    language: str
    file: str
    column: str = "text"
    sft: str | None = None
    most: int | None = None

    @property
    def flag(self) -> str:
        return f"--{self.side}_file"

    def read(self) -> Dataset:
        """Return the texts, in the column `text`.

        Raises:
            InputError: from `load_texts`.
        """
        return text.load_texts(self.file, text_column=self.column, max_texts=self.most, name=self.flag)


@dataclass(frozen=True)
class StudentPlan:
    """How the student is made; each field is named like its flag."""

    student: str | None
    layer_reduction_factor: int
    layer_map: tuple[int, ...] | None
    hidden_reduction_factor: int
    vocab_threshold: float
    vocab_size: int | None


@dataclass(frozen=True)
class Packing:
    """How the texts are cut: tokens in a chunk, and threads that tokenise (None: one for each CPU core)."""

    max_length: int
    workers: int | None = None


@dataclass(frozen=True)
class StatedLicences:
    """Licences that the user states: the teacher's, and one for both texts or `LANGUAGE=LICENCE` for each text."""

    teacher: str | None = None
    data: tuple[str, ...] | None = None


@dataclass(frozen=True)
class DistillationRequest:
    """Everything that a phase-1 run is asked to do, with all defaults filled in.

    Args:
        teacher: folder or hub id of the teacher.
        source, target: the two texts.
        plan: how the student is made.
        losses: weights and kinds of the losses.
        training: the training arguments, which include the run folder and the checkpoint to resume from.
        packing: how the texts are cut into chunks.
        licences: licences that the user states; default: none.
    """

    teacher: str
    source: Corpus
    target: Corpus
    plan: StudentPlan
    losses: LossArguments
    training: TrainingRequest
    packing: Packing
    licences: StatedLicences = StatedLicences()

    @property
    def corpora(self) -> tuple[Corpus, Corpus]:
        return self.source, self.target

    def as_flags(self) -> dict[str, Any]:
        """Return flag → value, for the run's record.

        Paths of models and SFTs are absolute, because a run may be resumed from another working folder. Paths of texts
        stay as given, because a resumed run compares texts by content.
        """
        flags: dict[str, Any] = {"teacher_model": absolute(self.teacher), "text_column": self.source.column}
        flags["max_texts"] = self.source.most
        for corpus in self.corpora:
            flags[f"{corpus.side}_file"], flags[f"{corpus.side}_language"] = corpus.file, corpus.language
            flags[f"{corpus.side}_sft"] = absolute(corpus.sft)
        flags |= asdict(self.plan) | {"student": absolute(self.plan.student)}
        if self.plan.layer_map is not None:
            flags["layer_map"] = ",".join(map(str, self.plan.layer_map))
        flags |= {"max_length": self.packing.max_length, "preprocessing_workers": self.packing.workers}
        stated = self.licences.data
        flags |= {"teacher_licence": self.licences.teacher, "data_licence": list(stated) if stated else None}
        return {**flags, **asdict(self.losses), **self.training.values}


def absolute(name: str | None) -> str | None:
    """Return the absolute path if `name` is an existing file or folder; otherwise (a hub id) return it unchanged."""
    return str(Path(name).resolve()) if name and Path(name).exists() else name
