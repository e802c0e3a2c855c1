"""Check the JSON files and weight files of a model folder before a library reads them.

Libraries trust these files: they make as many classes and layers as `config.json` says, and unpack what is compressed.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bistil_ds.errors import InputError, Notice
from bistil_ds.models.hub_folder import fetch_file
from bistil_ds.models.weight_files import INDEX_FILE, shard_paths
from bistil_ds.runs.files import read_json

CONFIG_FILE = "config.json"
# The largest accepted value of each size; the encoders of today are far smaller.
LARGEST = {
    "num_hidden_layers": 1_000,
    "n_layers": 1_000,  # as DistilBERT spells it
    "num_attention_heads": 10_000,
    "hidden_size": 100_000,
    "dim": 100_000,
    "intermediate_size": 1_000_000,
    "max_position_embeddings": 10_000_000,
    "vocab_size": 100_000_000,
    "type_vocab_size": 10_000,
    "num_labels": 100_000,
    "arc_width": 100_000,
    "relation_width": 100_000,
    "trained_max_length": 10_000_000,
}
LARGEST_TOKENIZER_FILE = 2**29  # bytes; XLM-R's tokenizer.json has 17 MB
# A config.json may describe at most SPARE weights for each byte of the weight files beside it. SMALL weights are always
# allowed, because a folder may hold a configuration alone.
SPARE = 4
SMALL = 2**28
INDICES = (INDEX_FILE, "pytorch_model.bin.index.json")


def check_config_file(name: str | Path, flag: str) -> None:
    """Check the `config.json` of a model folder or hub id.

    If the file names code of its own, a `Notice` says that this code is not run. A file that is missing or cannot be
    fetched passes: the library that needs the file reports that.

    Raises:
        InputError: the file is not JSON, or has sizes or labels that no model has; the message starts with `flag`.
    """
    content = _json_of(name, CONFIG_FILE, flag)
    if content is None:
        return
    for key, most in LARGEST.items():
        value = content.get(key)
        if value is not None and not (type(value) is int and 0 <= value <= most):
            raise InputError(f"{_place(flag, name)}: {key} in its config.json is {value!r:.40}; expected 0 to {most:,}")
    labels = content.get("id2label")
    if labels is not None and not (isinstance(labels, dict) and len(labels) <= LARGEST["num_labels"]):
        raise InputError(f"{_place(flag, name)}: id2label in its config.json is no mapping of numbers to labels")
    kinds = content.get("architectures")
    if kinds is not None and not (isinstance(kinds, list) and all(isinstance(kind, str) for kind in kinds)):
        raise InputError(
            f"{_place(flag, name)}: architectures in its config.json is {kinds!r:.40}; expected a list of names"
        )


def check_tokenizer_files(name: str | Path, flag: str) -> None:
    """Check the JSON and vocabulary files of the tokenizer in a model folder or hub id.

    If `tokenizer_config.json` names code of its own, a `Notice` says that this code is not run.

    Raises:
        InputError: `tokenizer_config.json` is not JSON, or a file is larger than any tokenizer's.
    """
    _json_of(name, "tokenizer_config.json", flag)
    for path in (*Path(name).glob("*.json"), *Path(name).glob("*.model"), *Path(name).glob("*.txt")):
        if path.stat().st_size > LARGEST_TOKENIZER_FILE:
            raise InputError(
                f"{_place(flag, name)}: {path.name} has {path.stat().st_size:,} bytes; no tokenizer needs as many"
            )


def check_weight_files(folder: str | Path, flag: str) -> None:
    """Check the weight files of a model folder; a name that is no folder passes.

    Raises:
        InputError: an index names a file outside of the folder, a pickled file is compressed, or the configuration
            describes far more weights than the files can hold.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return
    for index in INDICES:
        if (folder / index).is_file():
            shard_paths(folder / index)
    pickled = list(folder.glob("*.bin"))
    for path in pickled:
        check_pickled(path)
    content = _json_of(folder, CONFIG_FILE, flag) or {}
    held = sum(path.stat().st_size for path in (*pickled, *folder.glob("*.safetensors")))
    if (described := _weights(content)) > max(SMALL, SPARE * held):
        raise InputError(
            f"{_place(flag, folder)}: config.json describes {described:,} weights, but its files have {held:,} bytes"
        )


def check_pickled(path: Path) -> None:
    """Raise InputError if a file of `torch.save` is compressed, as torch never does: it could unpack to any size."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise InputError(f"{path}: is damaged ({error}); fetch it again") from None
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise InputError(f"{path}: its entries are packed, as torch never does; fetch it again")


def _json_of(name: str | Path, file: str, flag: str) -> Mapping[str, Any] | None:
    """Return the content of a JSON file in a folder or hub repository; None if the file cannot be found."""
    path = Path(name) / file
    if not Path(name).is_dir():
        try:
            path = fetch_file(str(name), file)
        except Exception:  # the hub and its client have no common error class
            return None
    if not path.is_file():
        return None
    content = read_json(path, "fetch it again", flag=flag)
    if "auto_map" in content:
        said = f"{_place(flag, name)}: {file} names code of its own (auto_map), which is never run"
        warnings.warn(said, Notice, stacklevel=3)
    return content


def _place(flag: str, name: str | Path) -> str:
    return f"{flag} {name}".strip()


def _weights(content: Mapping[str, Any]) -> int:
    """Return roughly how many weights an encoder with a configuration's sizes has, a parser's head included."""
    layers, width, inner, words, positions, arcs, relations = (
        int(content.get(key) or 0) for key in (*_SIZES, "arc_width", "relation_width")
    )
    labels = len(content.get("id2label") or ()) or int(content.get("num_labels") or 2)
    layer = 4 * width**2 + 2 * width * inner
    return layers * layer + (words + positions + labels) * width + arcs**2 + labels * relations**2


_SIZES = ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings")
