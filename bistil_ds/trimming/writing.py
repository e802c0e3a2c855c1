"""Write a trimmed folder: first tokenizer and kept ids, then what makes a model of them."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bistil_ds.errors import Notice, ProductError
from bistil_ds.models.loading import load_pretrained
from bistil_ds.models.model_card import CARD_FILE
from bistil_ds.models.tokenizer_folder import save_tokenizer
from bistil_ds.models.weight_files import WeightFolder
from bistil_ds.runs.files import give_usual_rights
from bistil_ds.runs.folder import UNFINISHED
from bistil_ds.student.origin import Origin, known_languages, model_licences, write_origin
from bistil_ds.trimming.base import Base, saved
from bistil_ds.trimming.card import trimmed_card
from bistil_ds.trimming.record import read_trim_record
from bistil_ds.vocabulary.kept_ids import Ids, save_kept_ids


@contextmanager
def part_of_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder inside of `folder`, which is removed if the block fails."""
    part = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
    part.chmod(0o755)
    try:
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def move_content(part: Path, folder: Path) -> None:
    """Move all that `part` holds to `folder`, and remove `part`."""
    give_usual_rights(part)
    for path in part.iterdir():
        os.replace(path, folder / path.name)
    part.rmdir()


def write_ids(part: Path, base: Base, tokenizer: PreTrainedTokenizerBase, kept_ids: Ids) -> None:
    """Write the trimmed tokenizer and the kept ids into an existing folder."""
    (part / base.place).mkdir(parents=True, exist_ok=True)
    save_tokenizer(tokenizer, part / base.place)
    save_kept_ids(part, kept_ids, base.config.vocab_size)


def write_model(part: Path, base: Base, model: PreTrainedModel, absent: frozenset[str], title: str) -> None:
    """Write the trimmed weights, the card and whatever else makes a model of a folder with ids, and check them.

    Args:
        part: a folder as `write_ids` and `TrimRecord.write` leave it.
        base: the model that was trimmed.
        model: its trimmed copy.
        absent: names of weights that the base's folder lacks, and this one shall lack.
        title: name of the folder, for the card.

    Raises:
        ProductError: what was written is not what was trimmed.
    """
    if base.sentence:
        base.sentence.copy_rest(part)
    place = part / base.place
    model.save_pretrained(place, state_dict={name: v for name, v in model.state_dict().items() if name not in absent})
    licences = model_licences(base.name)
    write_origin(part, Origin(licences, known_languages(base.name)))
    card = trimmed_card(read_trim_record(part), title, type(model).__name__, licences, base.sentence is not None)
    card.save(part / CARD_FILE)
    _check(place, model, absent)


def _check(folder: Path, model: PreTrainedModel, absent: frozenset[str]) -> None:
    """Raise ProductError unless the folder loads with transformers, and holds exactly the weights of `model`.

    The folder is loaded without values; then its tensors are read and compared one at a time. So no second model is in
    memory.
    """
    try:
        with warnings.catch_warnings(action="ignore", category=Notice):  # what is said of the base holds of its copy
            _, lacks = load_pretrained(type(model), folder, dtype="auto", device_map="meta")
        weights = WeightFolder(folder)
        expected = saved(model, absent)
        wrong = (
            (set(expected) ^ set(weights))
            | (set(lacks) ^ absent)
            | {name for name in set(expected) & set(weights) if not _same(expected[name], weights[name])}
        )
    except Exception as error:  # whatever a loader raises about files that are missing or damaged
        raise ProductError(f"{folder}: was written, but does not load: {error or type(error).__name__}") from None
    if wrong:
        raise ProductError(f"{folder}: was written, but {min(wrong)} is not what was trimmed; please report this")


def _same(tensor: torch.Tensor, other: torch.Tensor) -> bool:
    return tensor.dtype == other.dtype and torch.equal(tensor, other)
