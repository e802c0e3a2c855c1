"""Trim a model folder to the tokens of some languages, or make the model of kept ids that were stored alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datasets import Dataset

from bistil_ds import text
from bistil_ds.console.terminal import say, show
from bistil_ds.errors import InputError, blaming
from bistil_ds.models.inputs import load_tokenizer
from bistil_ds.models.licences import joint_licence
from bistil_ds.runs.folder import new_folder, run_folder
from bistil_ds.runs.record import RunRecord
from bistil_ds.student.origin import model_licences
from bistil_ds.text.corpus import corpus_hash
from bistil_ds.training.request import with_defaults
from bistil_ds.trimming.agreement import compare_states
from bistil_ds.trimming.base import FLAG, Base, LoadedBase, open_base
from bistil_ds.trimming.options import TrimOptions
from bistil_ds.trimming.record import TrimRecord, read_trim_record
from bistil_ds.trimming.tables import each_grid, trim_grids
from bistil_ds.trimming.writing import move_content, part_of_folder, write_ids, write_model
from bistil_ds.vocabulary import count_tokens, load_kept_ids, select_ids, trim_model, trim_tokenizer
from bistil_ds.vocabulary.embeddings import share_weights
from bistil_ds.vocabulary.kept_ids import Ids
from bistil_ds.vocabulary.report import sample_texts
from bistil_ds.vocabulary.trim import trim_to_ids

COMPARED_TEXTS = 32  # of each language, hidden states are compared on so many of its sample texts
Texts = Mapping[str, str | Path | Dataset]


def trim_pretrained(model: str | Path, texts: Texts, **flags: Any) -> Path:
    """Trim the vocabulary of a model folder to the tokens of some texts, and write one plain folder, as `trim.py` does.

    Example:
        >>> from bistil_ds import trim_pretrained
        >>> folder = trim_pretrained("mmt", {"en": "en.txt", "tr": "tr.txt"}, coverage=0.99, output_dir="mmt-en-tr")
        model mmt
        ...
        >>> sorted(path.name for path in folder.iterdir())[:4]
        ['README.md', 'config.json', 'kept_ids.json', 'model.safetensors']

    Only embeddings, output layer and its bias change; task heads and the modules of sentence-transformers stay. Text
    whose tokens are all kept gets the same hidden states as before, which is tried on a sample and printed.

    Args:
        model: folder or hub id of an encoder, with any head that transformers has, or of sentence-transformers.
        texts: language → file, folder, hub data set, or `datasets.Dataset` with a column "text"; one language or more.
        flags: the other flags of `trim.py`, by name: one of `vocab_threshold` (default: 1e-6), `vocab_size` and
            `coverage`; `round_to`; `each` for a model for each language; `ids_only`; `output_dir`; `licence` …

    Returns:
        The folder; with `each`, it has a folder for each language.

    Raises:
        InputError: a flag, a text or the model cannot be used; raised before anything is written.
        ProductError: a folder that was written does not load.
    """
    options = TrimOptions(**with_defaults((TrimOptions,), flags))
    if not texts:
        raise InputError("--text missing: give LANGUAGE=FILE for one language or more")
    options.check(texts)
    folder = run_folder(options.output_dir, "trim", None, resumable=False)
    for language, source in texts.items():
        if not isinstance(source, Dataset):
            text.check_text_file(source, f"--text {language}", options.text_column, options.max_texts)
    base = open_base(str(model))
    say(f"model {model}")
    loaded = base.load()
    column, most = options.text_column, options.max_texts
    corpora = {
        language: text.load_texts(source, text_column=column, max_texts=most, name=f"--text {language}")
        for language, source in texts.items()
    }
    choices = _choose(base, corpora, options)
    results: dict[str, TrimRecord] = {}
    with new_folder(folder, explicit=options.output_dir is not None) as folder:
        for languages, kept_ids in choices.items():
            title = languages[0] if options.each else folder.resolve().name
            samples = {language: sample_texts(corpora[language]) for language in languages}
            with part_of_folder(folder) as part:
                record = results[title] = _trim(part, base, loaded, kept_ids, samples, options, title)
                if options.each:
                    os.replace(part, folder / title)
                else:
                    move_content(part, folder)
        arguments = {"model": base.name, "text": {code: _shown(source) for code, source in texts.items()}}
        data = {code: {"file": _shown(source), "sha256": _sha256(source, code)} for code, source in texts.items()}
        trimmed = {title: record.to_dict() for title, record in results.items()}
        RunRecord(folder, arguments=arguments | asdict(options), data=data, results={"trimmed": trimmed}).finish()
    for grid in [each_grid(results)] if options.each else trim_grids(record):
        show(grid)
    return folder


def rebuild_trimmed(folder: str | Path, *, model: str | Path | None = None, output_dir: str | None = None) -> Path:
    """Make the trimmed model of kept ids that were stored alone; its weights are those of a direct trim, to the bit.

    Args:
        folder: a folder that `trim_pretrained` wrote, with `ids_only` or without.
        model: folder or hub id of the model that was trimmed; default: where it was then.
        output_dir: the folder to write; it must be new or empty. Default: `runs/trim-<time>`.

    Returns:
        The new folder.

    Raises:
        InputError: the folder or the model cannot be used, or the model has other weights than the one that was
            trimmed; raised before anything is written.
        ProductError: the folder that was written does not load.
    """
    new = run_folder(output_dir, "trim", None, resumable=False)
    record, kept_ids = read_trim_record(Path(folder)), load_kept_ids(folder)
    name = str(model or record.model)
    say(f"model {name}")
    base = open_base(name)
    with blaming(str(folder)):
        tokenizer = trim_tokenizer(base.tokenizer, kept_ids, keep_padding_id=base.keep_padding_id, pieces=base.pieces)
    loaded = base.load()
    if loaded.sha256 != record.weights_sha256:
        raise InputError(f"{FLAG} {name}: has other weights than the model that {folder} was trimmed from")
    with blaming(str(folder)):
        trim_model(loaded.model, kept_ids, rows=record.rows)
    with new_folder(new, explicit=output_dir is not None) as new, part_of_folder(new) as part:
        write_ids(part, base, tokenizer, kept_ids)
        record.write(part)
        write_model(part, base, loaded.model, loaded.absent, new.resolve().name)
        move_content(part, new)
        RunRecord(new, arguments={"model": name, "rebuild": str(folder), "output_dir": output_dir}).finish()
    return new


def _choose(base: Base, corpora: Mapping[str, Dataset], options: TrimOptions) -> dict[tuple[str, ...], Ids]:
    """Return languages → the ids to keep for them: for all languages together or for each alone."""
    counts = {
        language: count_tokens(part, base.tokenizer, name=language, rows=base.pieces.rows)
        for language, part in corpora.items()
    }
    choices = {}
    for languages in [(language,) for language in counts] if options.each else [tuple(counts)]:
        with blaming(options.said()):
            choices[languages] = select_ids(
                {code: counts[code] for code in languages}, base.pieces, **options.selection()
            )
    return choices


def _trim(
    part: Path,
    base: Base,
    loaded: LoadedBase,
    kept_ids: Ids,
    samples: Mapping[str, Sequence[str]],
    options: TrimOptions,
    title: str,
) -> TrimRecord:
    """Write the model that the kept ids make of `loaded` into the folder `part`, and its report."""
    copied = share_weights(loaded.model)
    trimmed = trim_to_ids(copied, base.tokenizer, kept_ids, samples, base.pieces, round_to=options.round_to)
    write_ids(part, base, trimmed.tokenizer, kept_ids)
    models, tokenizers = (loaded.model, copied), (base.tokenizer, load_tokenizer("", part / base.place))
    agreement = {
        code: compare_states(part[:: len(part) // COMPARED_TEXTS + 1], models, tokenizers, kept_ids)
        for code, part in samples.items()
    }
    licence = options.licence or joint_licence(model_licences(base.name))
    report = trimmed.report
    record = TrimRecord(base.name, loaded.sha256, options.said(), report.after.vocabulary, licence, report, agreement)
    record.write(part)
    if not options.ids_only:
        write_model(part, base, copied, loaded.absent, title)
    return record


def _shown(source: str | Path | Dataset) -> str:
    """Return the name of a text for the run's record."""
    return "a datasets.Dataset" if isinstance(source, Dataset) else str(source)


def _sha256(source: str | Path | Dataset, language: str) -> str | None:
    """Return the SHA-256 of a text's files; None for a data set."""
    return None if isinstance(source, Dataset) else corpus_hash(source, f"--text {language}")
