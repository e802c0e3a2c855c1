"""Find the text files of a folder, or load the data set that `save_to_disk` left there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from datasets import Dataset, load_from_disk

from bistil_ds.errors import InputError
from bistil_ds.runs.files import read_json
from bistil_ds.text.compression import SUFFIXES, unreadable
from bistil_ds.text.form import NAMES, bare_name, ending

SPLITS_FILE, SAVED_FILE = "dataset_dict.json", "state.json"  # as `datasets` names them
DEEPEST = 50  # levels of folders inside one another
ABOUT = ("README", "LICENSE", "LICENCE", "COPYING", "NOTICE", "CHANGELOG", "CITATION")  # files about a corpus


def is_saved(folder: Path) -> bool:
    """Return whether `datasets` saved a data set in the folder, with splits or without."""
    return any(os.path.isfile(folder / name) for name in (SPLITS_FILE, SAVED_FILE))


def saved_folder(folder: Path, flag: str) -> Path:
    """Return the folder of the only split saved in `folder`; `folder` itself if the data set was saved without splits.

    Raises:
        InputError: the data set has several splits.
    """
    if not os.path.isfile(folder / SPLITS_FILE):
        return folder
    splits = read_json(folder / SPLITS_FILE, "save the data set again", keys=("splits",), flag=f"{flag}:")["splits"]
    if not isinstance(splits, list) or len(splits) != 1:
        names = ", ".join(map(str, splits if isinstance(splits, list) else []))
        raise InputError(f"{flag}: {folder} has the splits {names}; give the folder of one, such as {folder}/SPLIT")
    return folder / Path(str(splits[0])).name


def load_saved(folder: Path, flag: str) -> Dataset:
    """Return the data set that `save_to_disk` left in the folder, memory-mapped.

    Raises:
        InputError: the data set has several splits, or cannot be loaded.
    """
    folder = saved_folder(folder, flag)
    try:
        return load_from_disk(str(folder))
    except Exception as error:  # the errors that `datasets` raises here have no common type
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{flag}: {folder} cannot be loaded as a data set ({reason}); save it again") from None


def text_files(folder: Path, flag: str) -> list[Path]:
    """Return the files in the folder and in the folders below it, sorted by their paths; leave out hidden ones.

    A file's name must have a known ending or, like WikiExtractor's `wiki_00`, no ending.

    Raises:
        InputError: a folder cannot be read, or holds a link to a folder above it; a file's name is of no known form of
            text; a file is there twice, as a.txt and a.txt.gz; folders are nested too deeply; or there is no file.
    """
    files = list(_walk(folder, flag, ()))
    names: dict[Path, Path] = {}
    for path in files:
        bare = Path(bare_name(path))
        if bare.stem.upper() in ABOUT or ending(path) not in ("", *NAMES):
            endings = ", ".join((*NAMES, *SUFFIXES))
            raise InputError(f"{flag}: {path} lies among the texts, but its name is of none ({endings}); move it away")
        earlier = names.setdefault(path.with_name(bare.stem), path)
        if earlier != path:
            raise InputError(f"{flag}: {earlier} and {path.name} seem to be the same text twice; keep one")
    if not files:
        raise InputError(f"{flag}: {folder} holds no files; give one with text files, or a file")
    return files


def _walk(folder: Path, flag: str, above: tuple[str, ...]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if len(above) > DEEPEST:
        raise InputError(f"{flag}: {above[0]} has more than {DEEPEST} folders inside one another; give one further in")
    if real in above:
        raise InputError(f"{flag}: {folder} is a link to a folder above it; remove it")
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        kinds = [path.is_dir() for path in entries]
    except OSError as error:
        raise unreadable(folder, flag, error) from None
    for path, is_folder in zip(entries, kinds):
        if is_folder:
            yield from _walk(path, flag, (*above, real))
        else:
            yield path
