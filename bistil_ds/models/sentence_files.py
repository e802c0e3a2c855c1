"""Copy the files by which sentence-transformers makes one vector of a text from a model's states.

A sentence-transformers folder lists its modules in `modules.json`: a transformer, then pooling, and perhaps dense
layers and a normalisation. A student keeps them, so that `SentenceTransformer(student)` pools as its teacher does. The
library itself is not needed here.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PretrainedConfig

from bistil_ds.errors import InputError, Notice
from bistil_ds.models.config_file import check_pickled
from bistil_ds.models.hub_folder import local_folder
from bistil_ds.models.inputs import longest_input
from bistil_ds.models.weight_files import SINGLE_FILE
from bistil_ds.runs.bounded import load_json
from bistil_ds.runs.files import read_json, write_whole

MODULES = "modules.json"
PROMPTS = "config_sentence_transformers.json"  # prompts, similarity function, versions
LIMITS = "sentence_bert_config.json"  # longest input, lower-casing; older folders name it after another model type
CONFIG = "config.json"
TRANSFORMER = "Transformer"
BEHIND = ("Pooling", "Dense", "LayerNorm", "Normalize", "Dropout")  # modules after the transformer, all without code
WEIGHTED = ("Dense", "LayerNorm")  # modules with weights, which fit one width only
PACKAGE = "sentence_transformers"
WIDTHS = ("word_embedding_dimension", "embedding_dimension")  # keys of a pooling's configuration, old and new
PICKLED = "pytorch_model.bin"
OF_MODULES = tuple(f"[1-9]_*/{name}" for name in ("*.json", SINGLE_FILE, PICKLED))
FETCHED = (MODULES, CONFIG, PROMPTS, "sentence_*_config.json", *OF_MODULES)
ADVICE = "fetch it again"


@dataclass(frozen=True)
class SentenceModule:
    """One module: the name of its class, such as `Pooling`, and the folder of its files."""

    kind: str
    folder: Path


def transformer_folder(name: str | Path, flag: str = "") -> str:
    """Return where a model's configuration and weights lie: `name`, or a sub-folder of sentence-transformers.

    Args:
        name: folder or hub id; of a hub id, the sub-folder is fetched.
        flag: the flag that named the model, for messages.

    Raises:
        InputError: `modules.json` is broken, or names a folder outside of its own.
    """
    modules = read_modules(name, flag)
    if not modules or modules[0].kind != TRANSFORMER:
        return str(name)
    root = _root(name)
    if modules[0].folder == root or (root / CONFIG).is_file():
        return str(name)
    inside = modules[0].folder.relative_to(root)
    return str(local_folder(name, "model", [f"{inside.as_posix()}/*"]) / inside)


def copy_sentence_files(source: str | Path, folder: Path, config: PretrainedConfig, flag: str = "") -> list[str]:
    """Copy the sentence-transformers files of `source` beside a model made from it; a plain folder has none.

    Modules get folders such as `1_Pooling`. Pickled weights become safetensors. The longest input is limited to that of
    the model. A `Notice` says why nothing is copied: a module is not one of `BEHIND`, or has weights for another width.

    Args:
        source: folder or hub id of the model from which the new one was made.
        folder: an existing folder with the new model, in which its transformer lies directly.
        config: the new model's configuration.
        flag: the flag that named `source`, for messages.

    Returns:
        The names of files and folders that were written into `folder`.

    Raises:
        InputError: a file of `source` is broken or missing, or `modules.json` names a folder outside of `source`.
    """
    modules = read_modules(source, flag)
    if not modules:
        return []
    if reason := reason_against(modules, config.hidden_size):
        warnings.warn(f"{flag} {source}: {reason}, so its sentence-transformers files are left out".lstrip(), Notice, 2)
        return []
    first, *behind = modules
    written = [MODULES]
    listed = [_entry(0, first.kind, "")]
    for number, module in enumerate(behind, 1):
        place = f"{number}_{module.kind}"
        listed.append(_entry(number, module.kind, place))
        _copy_module(module, folder / place, config.hidden_size)
        written.append(place)
    limits = next(iter(sorted(first.folder.glob("sentence_*_config.json"))), None)
    if limits is not None:
        content = read_json(limits, ADVICE, flag=flag)
        if type(content.get("max_seq_length")) is int:
            content["max_seq_length"] = min(content["max_seq_length"], longest_input(config))
        _write(folder / LIMITS, content)
        written.append(LIMITS)
    prompts = _root(source) / PROMPTS
    if prompts.is_file():
        _write(folder / PROMPTS, read_json(prompts, ADVICE, flag=flag))
        written.append(PROMPTS)
    _write(folder / MODULES, listed)  # last, so that a folder with this file has the others
    return written


def sentence_paths(folder: Path) -> list[Path]:
    """Return the files and folders that `copy_sentence_files` wrote into `folder`."""
    modules = [module.folder for module in read_modules(folder)[1:]]
    return modules + [path for path in (folder / LIMITS, folder / PROMPTS, folder / MODULES) if path.is_file()]


def read_modules(name: str | Path, flag: str = "") -> list[SentenceModule]:
    """Return the modules that a model folder or hub id lists; none for a model of plain transformers.

    Raises:
        InputError: `modules.json` is broken, or names a folder outside of its own.
    """
    root = _root(name)
    path, place = root / MODULES, f"{flag} {root / MODULES}".lstrip()
    if not path.is_file():
        return []
    try:
        content = load_json(path)
        entries = [(str(entry["type"]), str(entry["path"])) for entry in _list(content)]
    except (OSError, ValueError, TypeError, KeyError):  # InputError is a ValueError
        raise InputError(f"{place}: is no list of modules with type and path; {ADVICE}") from None
    for _, inside in entries:
        if Path(inside).is_absolute() or not (root / inside).resolve().is_relative_to(root.resolve()):
            raise InputError(f"{place}: names the folder {inside!r:.80}, which is not inside its own; {ADVICE}")
    # A class of another package keeps its whole name, so that it is none of BEHIND.
    kinds = [kind.rpartition(".")[2] if kind.startswith(f"{PACKAGE}.") else kind for kind, _ in entries]
    return [SentenceModule(kind, root / inside) for kind, (_, inside) in zip(kinds, entries)]


def reason_against(modules: Sequence[SentenceModule], width: int) -> str:
    """Return why a model of this width cannot keep the modules (see `read_modules`), or "" if it can or has none."""
    if not modules:
        return ""
    first, *behind = modules
    if unknown := [module.kind for module in behind if module.kind not in BEHIND]:
        return f"its module {unknown[0]:.80} needs code that is not known here"
    if first.kind != TRANSFORMER:
        return f"its first module is {first.kind:.80}, no {TRANSFORMER}"
    widths = [module.folder / CONFIG for module in behind if module.kind == "Pooling"]
    before = [read_json(path, ADVICE) for path in widths]
    found = [config[key] for config in before for key in WIDTHS if key in config]
    weighted = [module.kind for module in behind if module.kind in WEIGHTED]
    if weighted and any(each != width for each in found):
        return f"the weights of its {weighted[0]} are for states of width {found[0]}, not {width}"
    return ""


def _list(content: Any) -> list[Any]:
    if not isinstance(content, list):
        raise TypeError("no list")
    return content


def _root(name: str | Path) -> Path:
    """Return the folder of a model; of a hub id, that of its sentence-transformers files."""
    try:
        return local_folder(name, "model", FETCHED)
    except InputError:  # whoever loads the model says that it cannot be fetched
        return Path(name)


def _copy_module(module: SentenceModule, folder: Path, width: int) -> None:
    folder.mkdir()
    if (module.folder / CONFIG).is_file():
        content = read_json(module.folder / CONFIG, ADVICE)
        if module.kind == "Pooling":
            content |= {key: width for key in WIDTHS if key in content}
        _write(folder / CONFIG, content)
    if module.kind in WEIGHTED:
        save_file(_read_weights(module.folder), folder / SINGLE_FILE, metadata={"format": "pt"})


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    try:
        if (folder / SINGLE_FILE).is_file():
            return load_file(folder / SINGLE_FILE)
        check_pickled(folder / PICKLED)
        content = torch.load(folder / PICKLED, map_location="cpu", weights_only=True)
        return {str(name): tensor.contiguous().clone() for name, tensor in content.items()}
    except InputError:
        raise
    except Exception as error:  # safetensors, pickle and torch have no common error class
        raise InputError(f"{folder}: its weights cannot be read ({type(error).__name__}); {ADVICE}") from None


def _entry(number: int, kind: str, path: str) -> dict[str, Any]:
    return {"idx": number, "name": str(number), "path": path, "type": f"{PACKAGE}.models.{kind}"}


def _write(path: Path, content: Any) -> None:
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
