"""Read from a folder of sentence-transformers how its model makes vectors; sentence-transformers is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bistil_ds.embedding.pooling import MODES
from bistil_ds.embedding.settings import SIMILARITIES, DenseLayer, SentenceSettings, dense_layer
from bistil_ds.errors import InputError
from bistil_ds.models.config_file import LARGEST
from bistil_ds.models.sentence_folder import (
    ADVICE,
    CONFIG,
    SETTINGS,
    SentenceFolder,
    find_sentence_folder,
    read_weights,
)
from bistil_ds.runs.files import read_json

# key of a pooling's configuration in folders of older versions → mode; the order is that of the joined vectors
OLD_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
INPUT = "sentence_embedding"  # what a dense layer reads and writes


def settings_of_folder(source: str | Path, flag: str = "") -> SentenceSettings | None:
    """Return the settings of a folder or hub id of sentence-transformers; None if `source` is no such folder.

    Raises:
        InputError: from `find_sentence_folder`; or a module is not known here, or stands where it cannot be used; or a
            file of a module is broken or missing.
    """
    found = find_sentence_folder(str(source), flag, needed=True)
    if found is None:
        return None
    place = f"{flag} {source}".strip()
    kinds = [module.kind for module in found.modules if module.kind != "Dropout"]  # only for training
    wanted = ["Pooling", *["Dense"] * kinds.count("Dense"), *["Normalize"] * min(kinds.count("Normalize"), 1)]
    if kinds != wanted:
        raise InputError(
            f"{place}: its modules after the Transformer are {', '.join(kinds) or 'none'}; expected Pooling, then "
            "Dense layers, then Normalize"
        )
    about = _read(found.folder / SETTINGS[0])
    prompts = about.get("prompts") or {}
    if isinstance(prompts, Mapping):
        prompts = {name: text for name, text in prompts.items() if text is not None}
    similarity = about.get("similarity_fn_name")
    return SentenceSettings.from_dict(
        {
            "pooling": list(_pooling(found, place)),
            "normalise": "Normalize" in kinds,
            "prompts": prompts,
            "default_prompt": about.get("default_prompt_name"),
            "max_length": _max_length(found),
            "dense": [vars(layer) for layer in _dense(found, place)],
            "similarity": similarity if similarity in SIMILARITIES else SIMILARITIES[0],  # as sentence-transformers
        },
        place,
    )


def dense_weights(source: str | Path, flag: str = "") -> list[dict[str, Tensor]]:
    """Return the tensors `weight` and `bias` of each dense layer of a sentence-transformers folder; [] of another.

    Raises:
        InputError: a file with weights cannot be read, or has others.
    """
    found = find_sentence_folder(str(source), flag, needed=True)
    if found is None:
        return []
    layers = [read_weights(found.folder / module.path) for module in found.modules if module.kind == "Dense"]
    return [{name.removeprefix("linear."): tensor for name, tensor in layer.items()} for layer in layers]


def _max_length(found: SentenceFolder) -> int | None:
    """Return the longest input that the Transformer's folder states; later versions state it for the tokenizer."""
    stated = [_read(path).get("max_seq_length") for path in found.limits()[:1]]
    stated.append(_read(found.folder / found.transformer / "tokenizer_config.json").get("model_max_length"))
    limits = [limit for limit in stated if type(limit) is int and 0 < limit <= LARGEST["max_position_embeddings"]]
    return limits[0] if limits else None  # a tokenizer without a limit states 10^30


def _pooling(found: SentenceFolder, place: str) -> tuple[str, ...]:
    content = _config(found, "Pooling")[0]
    if content.get("include_prompt", True) is False:
        raise InputError(f"{place}: its pooling leaves the prompt out (include_prompt), which is not supported")
    modes = content.get("pooling_mode")
    if modes is None:
        return tuple(mode for key, mode in OLD_KEYS.items() if content.get(key)) or ("mean",)
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or not all(mode in MODES for mode in modes):
        raise InputError(f"{place}: its pooling {modes!r:.60} is not known; expected some of {', '.join(MODES)}")
    return tuple(modes)


def _dense(found: SentenceFolder, place: str) -> list[DenseLayer]:
    layers = []
    for content in _config(found, "Dense"):
        named = [content.get(f"module_{end}_name") or INPUT for end in ("input", "output")]
        if content.get("use_residual") or named != [INPUT, INPUT]:
            raise InputError(f"{place}: has a Dense layer with a residual or other inputs, which is not supported")
        fields = {name: content[name] for name in ("in_features", "out_features", "bias") if name in content}
        activation = str(content.get("activation_function", "Tanh")).rpartition(".")[2]
        try:
            layers.append(dense_layer({**fields, "activation": activation}, place))
        except TypeError:
            raise InputError(f"{place}: the config.json of a Dense layer lacks its sizes; {ADVICE}") from None
    return layers


def _config(found: SentenceFolder, kind: str) -> list[Mapping[str, Any]]:
    return [read_json(found.folder / module.path / CONFIG, ADVICE) for module in found.modules if module.kind == kind]


def _read(path: Path) -> Mapping[str, Any]:
    return read_json(path, ADVICE) if path.is_file() else {}
