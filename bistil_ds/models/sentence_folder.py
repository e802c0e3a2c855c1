"""Copy what a sentence-transformers folder holds beside its Transformer: list of modules, pooling, prompts, limits.

A trimmed model keeps these files as they are, a student keeps them with its own width and longest input; so
`SentenceTransformer(student)` pools as its teacher does.

sentence-transformers itself is not needed. Its folders have a `modules.json`, which lists modules with their
subfolders. The first module is a Transformer that transformers alone can load; the others turn its last hidden states
into one vector for each text.
"""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PretrainedConfig

from bistil_ds.errors import InputError, Notice
from bistil_ds.models.config_file import check_pickled
from bistil_ds.models.hub_folder import HubSilentError, find_file, local_folder
from bistil_ds.models.inputs import load_tokenizer, longest_input
from bistil_ds.models.weight_files import SINGLE_FILE
from bistil_ds.runs.bounded import load_json
from bistil_ds.runs.files import read_json, write_whole

MODULES = "modules.json"
SETTINGS = ("config_sentence_transformers.json", "sentence_*_config.json")  # prompts; longest input and letter case
LIMITS = "sentence_bert_config.json"  # the usual name of the second; older folders name it after another model type
CONFIG = "config.json"
BEHIND = ("Pooling", "Dense", "LayerNorm", "Normalize", "Dropout")  # modules that a student can keep
WEIGHTED = ("Dense", "LayerNorm")  # modules with weights, which fit one width only
CONFIGURED = ("Pooling", *WEIGHTED)  # modules that cannot be loaded without a configuration
WIDTHS = ("word_embedding_dimension", "embedding_dimension")  # keys of a pooling's configuration, old and new
PICKLED = "pytorch_model.bin"
ADVICE = "fetch it again"
CASES = ("BERLIN ÉÖ ЖД ΩΔ", "berlin éö жд ωδ")  # one token or another for a tokenizer that keeps the case
OURS = "sentence_transformers."  # the package whose modules need no code from the folder


@dataclass(frozen=True)
class SentenceModule:
    """A module after the Transformer: the name of its class, such as `Pooling`, and its folder's path."""

    kind: str
    path: str


@dataclass(frozen=True)
class SentenceFolder:
    """A folder of sentence-transformers.

    Attributes:
        folder: the folder on this machine.
        transformer: path of the Transformer's folder inside of it; "" if it is the folder itself.
        modules: the other modules.
    """

    folder: Path
    transformer: str
    modules: tuple[SentenceModule, ...]

    def limits(self) -> list[Path]:
        """Return the files with longest input and letter case; the first one counts."""
        return sorted((self.folder / self.transformer).glob(SETTINGS[1]))

    def copy_rest(self, to: Path) -> None:
        """Copy everything but the Transformer's weights, configuration and tokenizer to an existing folder `to`."""
        inner = PurePosixPath(self.transformer)
        for pattern in (MODULES, *SETTINGS, *(str(inner / name) for name in SETTINGS)):
            for path in self.folder.glob(pattern):
                target = to / path.relative_to(self.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        for module in self.modules:
            source = self.folder / module.path
            if module.path and source.is_dir():  # a module without settings may have no folder
                shutil.copytree(source, to / module.path, dirs_exist_ok=True, copy_function=shutil.copyfile)


def find_sentence_folder(source: str, flag: str = "", *, needed: bool = False) -> SentenceFolder | None:
    """Return the sentence-transformers folder that `source`, a folder or hub id, is; None if it has no `modules.json`.

    If the hub cannot be asked, and its cache does not say whether there is one, the model counts as a plain encoder,
    and a `Notice` says so; with `needed`, this is an error.

    Raises:
        InputError: `modules.json` is no list of modules in folders of its own, its first module is no Transformer, or a
            module is not of sentence-transformers itself; or it lower-cases texts and its tokenizer does not; or the
            hub cannot be asked and the answer is `needed`.
    """
    try:
        path = Path(source) / MODULES if Path(source).is_dir() else find_file(source, MODULES)
    except HubSilentError as error:
        unknown = f"{source}: its {MODULES} could not be looked up on the hub (offline? {error})"
        fetch = "fetch all of it (hf download, with --local-dir) and give its folder"
        if needed:
            raise InputError(f"{flag} {unknown}; {fetch}".lstrip()) from None
        said = f"{unknown}, so it counts as a plain encoder; if it is a sentence-transformers model, {fetch}"
        warnings.warn(said, Notice, stacklevel=2)
        return None
    if path is None or not path.is_file():
        return None
    where = f"{flag} {source}: its {MODULES}".strip()
    try:
        modules = load_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{where} cannot be read ({error}); fetch it again") from None
    if not _is_list_of_modules(modules):
        raise InputError(f"{where} is no list of modules with types and folders inside of it; fetch it again")
    if foreign := next((each["type"] for each in modules if not each["type"].startswith(OURS)), None):
        raise InputError(f"{where} names {foreign}, which needs code of its own; give another model")
    if not modules or not modules[0]["type"].endswith(".Transformer"):
        raise InputError(f"{where} does not begin with a Transformer; give another model")
    transformer, *paths = (each["path"] for each in modules)
    names = [MODULES, *SETTINGS, *(f"{each}/*" for each in (transformer, *paths) if each)]
    others = [SentenceModule(each["type"].rpartition(".")[2], each["path"]) for each in modules[1:]]
    found = SentenceFolder(local_folder(source, "model", names), transformer, tuple(others))
    _check_case(found, source, flag)
    return found


def _check_case(found: SentenceFolder, source: str, flag: str) -> None:
    """Raise InputError if sentence-transformers lower-cases texts before they reach a tokenizer that keeps their case.

    Students, trimmed vocabularies and vectors would be made of other tokens than those that the model knows.
    """
    if not any(read_json(path, ADVICE, flag=flag).get("do_lower_case") for path in found.limits()[:1]):
        return
    inner = str(found.folder / found.transformer) if found.transformer else source
    upper, lower = load_tokenizer(flag, inner)(CASES, add_special_tokens=False)["input_ids"]
    if upper != lower:
        raise InputError(
            f"{f'{flag} {source}'.strip()}: lower-cases texts outside of its tokenizer (do_lower_case), which is not "
            "supported; save it with sentence-transformers 6.2 or newer, so that its tokenizer does, and give that one"
        )


def transformer_folder(name: str | Path, flag: str = "") -> str:
    """Return where a model's configuration and weights lie: `name`, or a sub-folder of sentence-transformers.

    Raises:
        InputError: from `find_sentence_folder`.
    """
    found = find_sentence_folder(str(name), flag)
    return str(found.folder / found.transformer) if found and found.transformer else str(name)


def copy_sentence_files(source: str | Path, folder: Path, config: PretrainedConfig, flag: str = "") -> None:
    """Write the sentence-transformers files of `source` beside a model that was made from it; a plain folder has none.

    Modules get folders such as `1_Pooling`. Pickled weights become safetensors. The longest input is limited to that of
    the model. A `Notice` says why nothing is copied: a module is not one of `BEHIND`, or has weights for another width.

    Args:
        source: folder or hub id of the model from which the new one was made.
        folder: an existing folder with the new model, in which its Transformer lies directly.
        config: the new model's configuration.
        flag: the flag that named `source`, for messages.

    Raises:
        InputError: from `find_sentence_folder`; or a file of a module is broken or missing.
    """
    found = find_sentence_folder(str(source), flag)
    if found is None:
        return
    if reason := _reason_against(found, config.hidden_size, flag):
        warnings.warn(f"{flag} {source}: {reason}, so its sentence-transformers files are left out".lstrip(), Notice, 2)
        return
    for name, content in _files(found, config.hidden_size, longest_input(config), flag).items():
        _write(folder / name, content)


def check_sentence_files(source: str | Path, width: int, flag: str = "") -> None:
    """Check, before a model of this width is made from `source`, that `copy_sentence_files` can read its files.

    Raises:
        InputError: as from `copy_sentence_files`.
    """
    found = find_sentence_folder(str(source), flag)
    if found is not None and not _reason_against(found, width, flag):
        _files(found, width, 0, flag)


def sentence_paths(folder: Path) -> list[Path]:
    """Return the files and folders that `copy_sentence_files` wrote into `folder`."""
    found = find_sentence_folder(str(folder))
    modules = [folder / module.path for module in found.modules] if found else []
    return modules + [path for path in (folder / LIMITS, folder / SETTINGS[0], folder / MODULES) if path.is_file()]


def _reason_against(found: SentenceFolder, width: int, flag: str) -> str:
    """Return why a model of this width cannot keep the modules, or ""."""
    if unknown := [module.kind for module in found.modules if module.kind not in BEHIND]:
        return f"its module {unknown[0]:.80} needs code that is not known here"
    pooling = [found.folder / module.path / CONFIG for module in found.modules if module.kind == "Pooling"]
    configs = [read_json(path, ADVICE, flag=flag) for path in pooling]
    widths = [config[key] for config in configs for key in WIDTHS if key in config]
    weighted = [module.kind for module in found.modules if module.kind in WEIGHTED]
    if weighted and any(each != width for each in widths):
        return f"the weights of its {weighted[0]} are for states of width {widths[0]}, not {width}"
    return ""


def _files(found: SentenceFolder, width: int, longest: int, flag: str) -> dict[str, Any]:
    """Return path → content of the files to write: JSON, or a module's weights by name; None for a folder.

    They are those of a model of this width whose longest input is `longest`.
    """
    listed = [module_entry(0, "Transformer", "")]
    files: dict[str, Any] = {}
    for number, module in enumerate(found.modules, 1):
        place = f"{number}_{module.kind}"
        listed.append(module_entry(number, module.kind, place))
        files[place] = None
        source = found.folder / module.path
        if module.path and (module.kind in CONFIGURED or (source / CONFIG).is_file()):
            content = read_json(source / CONFIG, ADVICE, flag=flag)
            if module.kind == "Pooling":
                content |= {key: width for key in WIDTHS if key in content}
            files[f"{place}/{CONFIG}"] = content
        if module.kind in WEIGHTED:
            files[f"{place}/{SINGLE_FILE}"] = read_weights(source, flag)
    for path in found.limits()[:1]:
        content = read_json(path, ADVICE, flag=flag)
        if type(content.get("max_seq_length")) is int:
            content["max_seq_length"] = min(content["max_seq_length"], longest)
        files[LIMITS] = content
    if (found.folder / SETTINGS[0]).is_file():
        files[SETTINGS[0]] = read_json(found.folder / SETTINGS[0], ADVICE, flag=flag)
    return {**files, MODULES: listed}  # this last, so that a folder with this file has the others


def read_weights(folder: Path, flag: str = "") -> dict[str, torch.Tensor]:
    """Return the weights of a module with weights, from its folder.

    Raises:
        InputError: the file is missing or damaged; the message begins with `flag`.
    """
    try:
        if (folder / SINGLE_FILE).is_file():
            return load_file(folder / SINGLE_FILE)
        check_pickled(folder / PICKLED)
        content = torch.load(folder / PICKLED, map_location="cpu", weights_only=True)
        return {str(name): tensor.contiguous().clone() for name, tensor in content.items()}
    except InputError:
        raise
    except Exception as error:  # safetensors, pickle and torch have no common error class
        where = f"{flag} {folder}".lstrip()
        raise InputError(f"{where}: its weights cannot be read ({type(error).__name__}); {ADVICE}") from None


def module_entry(number: int, kind: str, path: str) -> dict[str, Any]:
    """Return the entry of a module in a `modules.json`; every version of sentence-transformers knows these types."""
    return {"idx": number, "name": str(number), "path": path, "type": f"{OURS}models.{kind}"}


def write_json(path: Path, content: Any) -> None:
    """Write a file of a sentence-transformers folder."""
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _write(path: Path, content: Any) -> None:
    if content is None:
        path.mkdir()
    elif path.name == SINGLE_FILE:
        save_file(content, path, metadata={"format": "pt"})
    else:
        write_json(path, content)


def _is_list_of_modules(content: Any) -> bool:
    """Return whether the content of a `modules.json` is a list of modules whose paths stay inside of the folder."""
    return isinstance(content, list) and all(
        isinstance(each, dict)
        and all(isinstance(each.get(key), str) for key in ("path", "type"))
        and not PurePosixPath(each["path"]).is_absolute()
        and ".." not in PurePosixPath(each["path"]).parts
        for each in content
    )
