"""Find the text of each language for pretraining, and convert other formats to plain text files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from bistil_ds.errors import InputError, Notice
from bistil_ds.pretraining.data import FLAG
from bistil_ds.text.compression import compression_of
from bistil_ds.text.corpus import located_texts
from bistil_ds.text.form import NAMES, PLAIN, bare_name, ending, form_of
from bistil_ds.text.options import NO_FLAG, TextOptions, listed

LINES = ".txt"
OPTIONS = TextOptions(FLAG, advice=NO_FLAG)


def find_corpora(folder: str | Path) -> dict[str, Path]:
    """Return language → path of each file `<language>.txt`, compressed or not.

    If the folder has no such file, return the files with the other endings in `NAMES`, such as `<language>.jsonl`.
    Beside .txt files, such files are often tables about the texts. They are then left out, and a Notice names them.

    Raises:
        InputError: the folder has none of these files, or two of one language.
    """
    files = [path for path in sorted(Path(folder).iterdir()) if path.is_file() and not path.name.startswith(".")]
    named = [path for path in files if ending(path) in NAMES]
    texts = [path for path in named if ending(path) == LINES]
    corpora: dict[str, Path] = {}
    for path in texts or named:
        language = Path(bare_name(path)).stem
        earlier = corpora.setdefault(language, path)
        if earlier != path:
            raise InputError(f"{FLAG} {folder}: {earlier.name} and {path.name} are both of {language}; keep one")
    if not corpora:
        raise InputError(f"{FLAG} {folder}: holds no files called <language>{', <language>'.join(NAMES)}")
    if texts and (left := [path.name for path in named if path not in texts]):
        said = f"{FLAG} {folder}: leaving out {listed(left)}; where there are {LINES} files, they alone are the texts"
        warnings.warn(said, Notice, stacklevel=2)
    return corpora


def as_lines(
    corpora: Mapping[str, Path], folder: Path, *, max_texts: int | None = None, keep_blank: bool = False
) -> dict[str, Path]:
    """Return language → a plain text file with one text a line.

    A corpus that is an uncompressed plain text file is returned as it is, unless `max_texts` is given. Any other corpus
    is converted to a file in `folder`.

    Args:
        corpora: language → file, as `find_corpora` returns.
        max_texts: take only the first `max_texts` texts of each language; None means all.
        keep_blank: write blank texts as empty lines, so that line n still means the same in all parallel files. Blank
            texts then count towards `max_texts`.

    Raises:
        InputError: a file cannot be read.
    """
    files: dict[str, Path] = {}
    for language, path in corpora.items():
        files[language] = path
        if max_texts is not None or compression_of(path) or form_of(path, OPTIONS) != PLAIN:
            files[language] = folder / f"{language}.txt"
            texts = (text for _, _, text in located_texts(path, OPTIONS) if keep_blank or text.strip())
            with open(files[language], "w", encoding="utf-8", newline="\n") as file:
                file.writelines(" ".join(text.split()) + "\n" for text in islice(texts, max_texts))
    return files
