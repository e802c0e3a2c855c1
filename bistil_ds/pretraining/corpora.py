"""Find the text of each language for pretraining, and convert other formats to plain text files."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from bistil_ds.errors import InputError
from bistil_ds.pretraining.data import find_texts
from bistil_ds.text.compression import compression_of
from bistil_ds.text.corpus import located_texts
from bistil_ds.text.form import NAMES, PLAIN, bare_name, form_of
from bistil_ds.text.options import NO_FLAG, TextOptions

FLAG = "--input_folder"
OPTIONS = TextOptions(FLAG, advice=NO_FLAG)


def find_corpora(folder: str | Path) -> dict[str, Path]:
    """Return language → path of each file `<language>.txt`, `.jsonl`, `.csv`, `.tsv` or `.parquet`, compressed or not.

    Raises:
        InputError: the folder has no such file, or two of one language.
    """
    named = [path for path in sorted(Path(folder).iterdir()) if path.is_file() and not path.name.startswith(".")]
    corpora: dict[str, Path] = {}
    for path in named:
        bare = Path(bare_name(path))
        if bare.suffix in NAMES:
            earlier = corpora.setdefault(bare.stem, path)
            if earlier != path:
                raise InputError(f"{FLAG} {folder}: {earlier.name} and {path.name} are both of {bare.stem}; keep one")
    return corpora or find_texts(folder)


def as_lines(
    corpora: Mapping[str, Path], folder: Path, *, max_texts: int | None = None, keep_blank: bool = False
) -> dict[str, Path]:
    """Return language → a plain text file with one text a line.

    The file is written to `folder`, unless the corpus already is such a file and `max_texts` is None.

    Args:
        corpora: language → file, as `find_corpora` returns.
        max_texts: take only the first `max_texts` texts of each language; None means all.
        keep_blank: write blank texts as empty lines, so that parallel files stay in step; they count as texts.

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
