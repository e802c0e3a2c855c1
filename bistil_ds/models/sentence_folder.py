"""Copy what a sentence-transformers folder holds beside its Transformer: list of modules, pooling, prompts, limits.

sentence-transformers itself is not needed. Its folders have a `modules.json`, which lists modules with their
subfolders. The first module is a Transformer that transformers alone can load; the others turn its last hidden states
into one vector for each text.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import hf_hub_download

from bistil_ds.errors import InputError
from bistil_ds.models.hub_folder import local_folder
from bistil_ds.runs.bounded import load_json

MODULES = "modules.json"
SETTINGS = ("config_sentence_transformers.json", "sentence_*_config.json")  # prompts; longest input and letter case
OURS = "sentence_transformers."  # the package whose modules need no code from the folder


@dataclass(frozen=True)
class SentenceFolder:
    """A folder of sentence-transformers.

    Attributes:
        folder: the folder on this machine.
        transformer: path of the Transformer's folder inside of it; "" if it is the folder itself.
        modules: paths of the other modules' folders inside of it.
    """

    folder: Path
    transformer: str
    modules: tuple[str, ...]

    def copy_rest(self, to: Path) -> None:
        """Copy everything but the Transformer's weights, configuration and tokenizer to an existing folder `to`."""
        inner = PurePosixPath(self.transformer)
        for pattern in (MODULES, *SETTINGS, *(str(inner / name) for name in SETTINGS)):
            for path in self.folder.glob(pattern):
                target = to / path.relative_to(self.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        for module in self.modules:
            source = self.folder / module
            if source.is_dir():  # a module without settings may have no folder
                shutil.copytree(source, to / module, dirs_exist_ok=True, copy_function=shutil.copyfile)


def find_sentence_folder(source: str, flag: str = "") -> SentenceFolder | None:
    """Return the sentence-transformers folder that `source`, a folder or hub id, is; None if it has no `modules.json`.

    Raises:
        InputError: `modules.json` is no list of modules in folders of its own, its first module is no Transformer, or a
            module is not of sentence-transformers itself.
    """
    try:
        path = Path(source) / MODULES if Path(source).is_dir() else Path(hf_hub_download(source, MODULES))
    except Exception:  # the hub and its client have no common error class
        return None
    if not path.is_file():
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
    transformer, *others = (each["path"] for each in modules)
    names = [MODULES, *SETTINGS, *(f"{each}/*" for each in (transformer, *others) if each)]
    return SentenceFolder(local_folder(source, "model", names), transformer, tuple(each for each in others if each))


def _is_list_of_modules(content: Any) -> bool:
    """Return whether the content of a `modules.json` is a list of modules whose paths stay inside of the folder."""
    return isinstance(content, list) and all(
        isinstance(each, dict)
        and all(isinstance(each.get(key), str) for key in ("path", "type"))
        and not PurePosixPath(each["path"]).is_absolute()
        and ".." not in PurePosixPath(each["path"]).parts
        for each in content
    )
