"""What a model card can say, gathered from the files that runs left; what no file says stays None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bistil_ds.export.card_scores import DataFile, Score, data_file, read_json
from bistil_ds.export.onnx import OnnxCheck
from bistil_ds.runs.record import RECORD_FILE
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.student.folder import ALIGNMENT, KEPT_IDS


@dataclass(frozen=True)
class Run:
    """One training run by its `run.json`; `arguments` is empty and the rest None where there is none."""

    arguments: Mapping[str, Any]
    data: tuple[DataFile, ...] | None
    commit: str | None
    versions: Mapping[str, Any]


@dataclass(frozen=True)
class BaseFacts:
    """The model that the fine-tunings were applied to.

    Attributes:
        name: hub id, or the last part of its folder's path.
        hub_id: of the model it is, or was distilled from; None: a local one.
        teacher: what it was distilled from, where it is a student of ours.
        languages: codes; empty where not known.
        layer_map: the teacher layer (from 0) of each of its layers.
        vocabulary: tokens of teacher and student, where it was trimmed.
    """

    name: str
    hub_id: str | None
    teacher: str | None
    languages: tuple[str, ...]
    layer_map: tuple[int, ...] | None
    vocabulary: tuple[int, int] | None
    run: Run


@dataclass(frozen=True)
class SftFacts:
    """A fine-tuning: entries it moves, values it replaces (the head), its header, and the run that made it."""

    name: str
    entries: int
    replaced: int
    metadata: Mapping[str, Any]
    run: Run

    @property
    def sparse(self) -> bool:
        """Whether it changes entries; dense training leaves whole tensors only."""
        return self.entries > 0


@dataclass(frozen=True)
class CardFacts:
    """Everything the card is made of.

    Attributes:
        title: the exported folder's name.
        kind: the model's class, such as `XLMRobertaForTokenClassification`.
        max_length: the longest input the task was trained on, in tokens; None: unknown.
        licence: as the user gave it; None: unknown.
        scores: None: no evaluation was given.
        onnx: None: there is no ONNX file.
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
    onnx: OnnxCheck | None

    @property
    def head(self) -> str:
        """What the class is for: `TokenClassification` of `XLMRobertaForTokenClassification`."""
        return self.kind.partition("For")[2]

    @property
    def languages(self) -> list[str]:
        """Codes, the base's first; empty where nobody says."""
        said = [*self.base.languages, *(code for sft in self.sfts for code in sft.metadata.get("languages") or ())]
        return list(dict.fromkeys(said))


def base_facts(source: str) -> BaseFacts:
    """Read the model folder (nothing of ours need be there) or take the hub id for what it is."""
    folder, run = Path(source), _run(source)
    aligned, kept = read_json(folder / ALIGNMENT), read_json(folder / KEPT_IDS)
    teacher = run.arguments.get("teacher_model") or aligned.get("teacher")
    if aligned:  # a recorded name is a hub id unless it is a path, and those are recorded whole
        recorded = run.arguments.get("teacher_model")
        hub_id = recorded if recorded and recorded.count("/") <= 1 and not Path(recorded).is_absolute() else None
    else:
        hub_id = None if folder.exists() else source
    vocabulary = (int(kept["base_vocab_size"]), len(kept["kept_ids"])) if kept else None
    return BaseFacts(
        public_name(source),
        hub_id,
        (hub_id or public_name(str(teacher))) if aligned else None,
        tuple(aligned.get("languages") or ()),
        tuple(aligned["layer_map"]) if aligned.get("layer_map") else None,
        vocabulary,
        run,
    )


def sft_facts(source: str) -> SftFacts:
    """Read the fine-tuning and the record beside it."""
    sft = SparseFineTuning.load(source)
    entries = sum(len(diff.indices_K) for diff in sft.sparse.values())
    replaced = sum(tensor.numel() for tensor in sft.dense.values())
    return SftFacts(public_name(source), entries, replaced, sft.metadata, _run(source))


def public_name(source: str) -> str:
    """A hub id as it is; of a path the last part, since a card is read on other machines."""
    return source if _is_hub_id(source) else Path(source).resolve().name


def _is_hub_id(source: str) -> bool:
    return not Path(source).exists() and not Path(source).is_absolute() and source.count("/") <= 1


def _run(source: str) -> Run:
    """From a `run.json` of ours; another program's file of that name says nothing."""
    record = read_json(Path(source) / RECORD_FILE)
    commit = _mapping(record.get("git")).get("commit")
    return Run(_mapping(record.get("arguments")), _data(record), commit, _mapping(record.get("versions")))


def _data(record: Mapping[str, Any]) -> tuple[DataFile, ...] | None:
    """Phase 1 records side → file and hash, the task commands `LANGUAGE=FILE` → hash."""
    found = []
    for key, value in _mapping(record.get("data")).items():
        label, _, source = key.partition("=")
        if isinstance(value, Mapping):
            source, value = str(value.get("file") or value.get("path")), value.get("sha256")
        if source:
            name, sha256 = data_file(source, value)
            found.append((f"{label}: {name}", sha256))
    return tuple(found) or None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
