"""Gather the facts of a model card from the files that runs left; a fact that no file states is None or empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bistil_ds.embedding.settings import SentenceSettings
from bistil_ds.errors import InputError
from bistil_ds.export.card_scores import DataFile, Score, data_file
from bistil_ds.export.engines.report import EngineReport
from bistil_ds.models.hub_folder import split_revision
from bistil_ds.models.licences import UNKNOWN, merge_licences, public_name
from bistil_ds.runs.files import read_json
from bistil_ds.runs.record import RECORD_FILE
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.sft.metadata import licences_of
from bistil_ds.student.folder import KEPT_IDS, base_vocab_size, read_alignment
from bistil_ds.student.origin import model_licences, read_origin
from bistil_ds.vocabulary.coverage import Coverage
from bistil_ds.vocabulary.kept_ids import load_kept_ids


@dataclass(frozen=True)
class Run:
    """The facts in the `run.json` of a training run. Without such a file, mappings are empty and the rest is None.

    Attributes:
        build: what phase 1 recorded of the models it built, such as the teacher's family.
    """

    arguments: Mapping[str, Any]
    data: tuple[DataFile, ...] | None
    commit: str | None
    versions: Mapping[str, Any]
    build: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BaseFacts:
    """The model that the fine-tunings were applied to.

    Attributes:
        name: the hub id, or the last part of the folder's path.
        hub_id: the model's hub id; for a student that this package made, the teacher's. None for a local folder.
        teacher: name of the teacher, for a student that this package made; None for any other model.
        languages: language codes; empty if unknown.
        layer_map: the teacher layer (from 0) of each layer; None if unknown.
        vocabulary: numbers of tokens in the teacher's and in the student's vocabulary; None if it was not trimmed.
        run: the training run that left the folder.
        licences: part (a model or data set that this model is made from) → licence, or `unknown`.
        teacher_languages: codes of the languages that a student's teacher knows; empty if unknown.
    """

    name: str
    hub_id: str | None
    teacher: str | None
    languages: tuple[str, ...]
    layer_map: tuple[int, ...] | None
    vocabulary: tuple[int, int] | None
    run: Run
    licences: Mapping[str, str]
    teacher_languages: tuple[str, ...]


@dataclass(frozen=True)
class SftFacts:
    """A fine-tuning: number of entries changed, number of values replaced, metadata of its file, and its run."""

    name: str
    entries: int
    replaced: int
    metadata: Mapping[str, Any]
    run: Run

    @property
    def sparse(self) -> bool:
        """Return whether the fine-tuning changes single entries; dense training replaces only whole tensors."""
        return self.entries > 0


@dataclass(frozen=True)
class Stated:
    """What the user states for a model card.

    Attributes:
        title: the hub repository, else the exported folder's name.
        licence: the licence of the exported model; None if unknown.
        scores: None if no evaluation was given.
        samples: language → sentences; the card says how the tokenizer cuts them.
    """

    title: str
    licence: str | None
    scores: Sequence[Score] | None
    samples: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class SentenceFacts:
    """How a sentence encoder makes vectors: its settings, values in a vector, and longest input in tokens."""

    settings: SentenceSettings
    dimension: int
    longest: int


@dataclass(frozen=True)
class CardFacts:
    """All facts of a model card.

    Attributes:
        title: as the user states it; the name by which `from_pretrained` finds the model.
        kind: the model's class, such as `XLMRobertaForTokenClassification`.
        max_length: the longest input that the task was trained on, in tokens; None if unknown.
        licence: the licence that the user gave; None if unknown.
        scores: None if no evaluation was given.
        engines: the files for other engines; None if there are none.
        coverage: language → statistics of the pieces into which the exported tokenizer cuts its sample sentences.
        sentence: how a sentence encoder makes vectors; None for any other model.
    """

    title: str
    kind: str
    task: str
    labels: Sequence[str]
    max_length: int | None
    parameters: int
    base: BaseFacts
    sfts: Sequence[SftFacts]
    licence: str | None
    scores: Sequence[Score] | None
    engines: EngineReport | None
    coverage: Mapping[str, Coverage] = field(default_factory=dict)
    sentence: SentenceFacts | None = None

    @property
    def head(self) -> str:
        """Return the part of the class name after "For", such as `TokenClassification`."""
        return self.kind.partition("For")[2]

    @property
    def languages(self) -> list[str]:
        """Return the language codes that the base states, then those that fine-tunings add; empty if there are none."""
        said = [*self.base.languages, *(code for sft in self.sfts for code in sft.metadata.get("languages") or ())]
        return list(dict.fromkeys(said))

    @property
    def licences(self) -> dict[str, str]:
        """Return part → licence for everything that base and fine-tunings are made from."""
        return merge_licences(self.base.licences, *(licences_of(sft.name, sft.metadata) for sft in self.sfts))


def base_facts(source: str) -> BaseFacts:
    """Read the facts of a model folder or hub id, which another program may have made.

    Raises:
        InputError: a file that this package wrote beside the weights is broken.
    """
    folder, run = Path(source), _run(source)
    alignment, origin = read_alignment(folder), read_origin(folder)
    found = run.arguments.get("teacher_model")
    recorded = found if isinstance(found, str) else None
    if alignment:  # a recorded name is a hub id or an absolute path
        on_hub = recorded and not Path(recorded).is_absolute() and split_revision(recorded)[0].count("/") <= 1
        hub_id = recorded if on_hub else None
    else:
        hub_id = None if folder.exists() else source
    named = (hub_id or public_name(recorded or alignment.teacher or UNKNOWN)) if alignment else None
    older = {f"model {named}": UNKNOWN} if alignment and origin is None else None  # a student of version 0.1
    trimmed = (folder / KEPT_IDS).is_file()
    vocabulary = (base_vocab_size(folder), len(load_kept_ids(folder))) if trimmed else None
    return BaseFacts(
        public_name(source),
        hub_id,
        named,
        alignment.languages if alignment else (),
        alignment.layer_map if alignment else None,
        vocabulary,
        run,
        older or model_licences(source),
        tuple(origin.teacher_languages) if origin else (),
    )


def sft_facts(source: str) -> SftFacts:
    """Read the facts of a fine-tuning and of the record beside it."""
    sft = SparseFineTuning.load(source)
    entries = sum(len(diff.indices_K) for diff in sft.sparse.values())
    replaced = sum(tensor.numel() for tensor in sft.dense.values())
    return SftFacts(public_name(source), entries, replaced, sft.metadata, _run(source))


def _run(source: str) -> Run:
    """Read a `run.json` of this package; if there is none, or it is another program's, return a `Run` without facts."""
    try:
        record = read_json(Path(source) / RECORD_FILE, "", finite=False)
    except InputError:
        record = {}
    commit = _mapping(record.get("git")).get("commit")
    versions = {package: str(version) for package, version in _mapping(record.get("versions")).items() if version}
    build = _mapping(_mapping(record.get("results")).get("build"))
    return Run(_mapping(record.get("arguments")), _data(record), commit and str(commit), versions, build)


def _data(record: Mapping[str, Any]) -> tuple[DataFile, ...] | None:
    """Return the recorded data files, or None if there are none.

    Phase 1 records side, or language → file and hash; the task commands record `LANGUAGE=FILE` → hash.
    """
    found = []
    for key, value in _mapping(record.get("data")).items():
        label, _, source = key.partition("=")
        if isinstance(value, Mapping):
            source, value = str(value.get("file") or value.get("path")), value.get("sha256")
        if source:
            name, sha256 = data_file(source, value and str(value))
            found.append((f"{label}: {name}", sha256))
    return tuple(found) or None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
