"""What a phase-1 run is asked to do: teacher, text, student, losses and training, with every default filled in."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from bistil_ds import text
from bistil_ds.distillation.arguments import LossArguments
from bistil_ds.training.request import TrainingRequest

SIDES = ("source", "target")
OF_SIDES = tuple(f"{side}_{part}" for part in ("file", "language", "sft") for side in SIDES)  # the way of two languages


@dataclass(frozen=True)
class Corpus:
    """Text of one language.

    Args:
        language: the language's code.
        file: a text file, a folder of text files, or the id of a hub dataset.
        column: column with the text, in data that has columns.
        sft: the sparse fine-tuning (SFT) that the teacher carries on this language's batches, if any.
        most: read this many texts at most; None reads all.
        side: source or target, if the flags that named the text are of this side; None: `--text` named it.
    """

    language: str
    file: str
    column: str = "text"
    sft: str | None = None
    most: int | None = None
    side: str | None = None

    @property
    def flag(self) -> str:
        """Return how messages name the text, such as `--source_file` or `--text tr`."""
        return f"--{self.side}_file" if self.side else f"--text {self.language}"

    @property
    def file_flag(self) -> str:
        """Return the flag and the file as the user gave them, such as `--source_file en.txt` or `--text tr=tr.txt`."""
        return f"{self.flag} {self.file}" if self.side else f"{self.flag}={self.file}"

    @property
    def sft_flag(self) -> str:
        """Return the flag and the SFT as the user gave them."""
        return f"--{self.side}_sft {self.sft}" if self.side else f"--language_sft {self.language}={self.sft}"

    @property
    def key(self) -> str:
        """Return the name of the text among the data in the run's record."""
        return self.side or self.language

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
    keep_first: bool
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
    """Licences that the user states: the teacher's, and one for all texts or `LANGUAGE=LICENCE` for each text."""

    teacher: str | None = None
    data: tuple[str, ...] | None = None


@dataclass(frozen=True)
class DistillationRequest:
    """Everything that a phase-1 run is asked to do, with all defaults filled in.

    Args:
        teacher: folder or hub id of the teacher.
        corpora: the text of each language, in the order in which the languages are numbered.
        plan: how the student is made.
        losses: weights and kinds of the losses.
        training: the training arguments, which include the run folder and the checkpoint to resume from.
        packing: how the texts are cut into chunks.
        licences: licences that the user states; default: none.
    """

    teacher: str
    corpora: tuple[Corpus, ...]
    plan: StudentPlan
    losses: LossArguments
    training: TrainingRequest
    packing: Packing
    licences: StatedLicences = StatedLicences()

    @property
    def languages(self) -> list[str]:
        """Return the codes of the languages."""
        return [corpus.language for corpus in self.corpora]

    def as_flags(self) -> dict[str, Any]:
        """Return flag → value, for the run's record.

        Paths of models and SFTs are absolute, because a run may be resumed from another working folder. Paths of texts
        stay as given, because a resumed run compares texts by content.
        """
        flags: dict[str, Any] = {"teacher_model": absolute(self.teacher), **self._text_flags()}
        flags |= asdict(self.plan) | {"student": absolute(self.plan.student)}
        if self.plan.layer_map is not None:
            flags["layer_map"] = ",".join(map(str, self.plan.layer_map))
        flags |= {"max_length": self.packing.max_length, "preprocessing_workers": self.packing.workers}
        stated = self.licences.data
        flags |= {"teacher_licence": self.licences.teacher, "data_licence": list(stated) if stated else None}
        return {**flags, **asdict(self.losses), **self.training.values}

    def _text_flags(self) -> dict[str, Any]:
        """Return flag → value for the texts, with None for the flags of the other way to name them."""
        flags: dict[str, Any] = {"text_column": self.corpora[0].column, "max_texts": self.corpora[0].most}
        flags |= dict.fromkeys(("text", "language_sft", *OF_SIDES))
        named = [corpus for corpus in self.corpora if corpus.side is None]
        if named:
            flags["text"] = {corpus.language: corpus.file for corpus in named}
            flags["language_sft"] = {corpus.language: absolute(corpus.sft) for corpus in named if corpus.sft} or None
        for corpus in self.corpora:
            if corpus.side is not None:
                flags[f"{corpus.side}_file"], flags[f"{corpus.side}_language"] = corpus.file, corpus.language
                flags[f"{corpus.side}_sft"] = absolute(corpus.sft)
        return flags


def absolute(name: str | None) -> str | None:
    """Return the absolute path if `name` is an existing file or folder; otherwise (a hub id) return it unchanged."""
    return str(Path(name).resolve()) if name and Path(name).exists() else name
