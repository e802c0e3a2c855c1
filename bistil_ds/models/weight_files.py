"""Read the weights in a model folder's safetensors files one tensor at a time; hash weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from bistil_ds.console.progress import progress_bar
from bistil_ds.errors import InputError
from bistil_ds.models.parameters import saved_parameters
from bistil_ds.runs.files import read_json

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
WEIGHT_FILES = (SINGLE_FILE, INDEX_FILE, "model-*.safetensors")  # the files to fetch from a hub repository


class WeightFolder:
    """Mapping of name → tensor for the weights in `model.safetensors`, or in the shards that an index file lists.

    Raises:
        InputError: the folder holds neither `model.safetensors` nor an index file, or a file is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._file_of: dict[str, Path] = {}
        for path in self._files():
            try:
                with safe_open(path, framework="pt") as weights:
                    self._file_of.update(dict.fromkeys(weights.keys(), path))
            except (SafetensorError, OSError) as error:
                raise InputError(f"{path} is not a readable safetensors file ({error}): fetch it again") from error

    def _files(self) -> list[Path]:
        if (self.folder / SINGLE_FILE).is_file():
            return [self.folder / SINGLE_FILE]
        index = self.folder / INDEX_FILE
        if not index.is_file():
            raise InputError(f"no {SINGLE_FILE} in {self.folder}: give a model folder written by save_pretrained")
        return shard_paths(index)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def __contains__(self, name: object) -> bool:
        return name in self._file_of

    def __getitem__(self, name: str) -> torch.Tensor:
        with safe_open(self._file_of[name], framework="pt") as weights:
            return weights.get_tensor(name)


def shard_paths(index: Path) -> list[Path]:
    """Return the paths of the files that an index of weights names; all must lie in the index's folder.

    Raises:
        InputError: the index is damaged, or names a file outside that folder.
    """
    shards = read_json(index, "fetch it again", keys=("weight_map",))["weight_map"]
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise InputError(f"{index}: its weight_map does not map weights to files; fetch it again")
    names = sorted(set(shards.values()))
    if outside := [name for name in names if Path(name).name != name or name in ("", "..")]:
        raise InputError(f"{index}: names {outside[0]!r}, which is no file of its own folder; fetch it again")
    return [index.parent / name for name in names]


def hash_weights(source: str | Path | torch.nn.Module | Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 (hex) of a model's weights: of (name, dtype, shape, bytes) of each, sorted by name.

    The hash does not depend on how the weights are sharded. Tied weights count once. A model and the folder to which
    `save_pretrained` wrote it have the same hash.

    Args:
        source: a model folder with safetensors, a model (not partitioned by ZeRO-3), or weights by name.
    """
    pairs: Iterable[tuple[str, torch.Tensor]]
    if isinstance(source, torch.nn.Module):
        source = {name: parameter.detach() for name, parameter in saved_parameters(source).items()}
    if isinstance(source, Mapping):
        pairs = sorted(source.items())
    else:
        weights = WeightFolder(source)
        names = progress_bar(sorted(weights), "hashing weights", delay=2, leave=False)
        pairs = ((name, weights[name]) for name in names)
    sha = hashlib.sha256()
    for name, tensor in pairs:
        sha.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        sha.update(tensor.contiguous().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
