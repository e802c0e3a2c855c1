"""Write a sentence encoder as the folder of sentence-transformers that it is, for its versions 3 to 6."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from transformers import PreTrainedTokenizerBase

from bistil_ds.embedding.encoder import SentenceEncoder
from bistil_ds.embedding.sentence_files import OLD_KEYS
from bistil_ds.embedding.vectors import longest_text
from bistil_ds.models.parameters import save_under_own_names
from bistil_ds.models.sentence_folder import CONFIG, LIMITS, MODULES, SETTINGS, module_entry, write_json
from bistil_ds.models.weight_files import SINGLE_FILE

DOCUMENT = "document"  # the prompt's name that `encode_document` asks for
ITS_OLD_NAMES = ("passage", "corpus")


def save_sentence_folder(model: SentenceEncoder, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write encoder, pooling, dense layers, prompts and the longest input to an existing folder; not the tokenizer.

    The encoder lies at the root as transformers' own class, so that nothing of ours is needed. Its config.json also
    holds the settings, from which this package reads them.
    """
    encoder, settings = model.base_model, model.settings
    save_under_own_names(encoder)
    encoder.save_pretrained(folder)
    modules: list[tuple[str, dict[str, Any]]] = [("Pooling", _pooling(settings.pooling, model.config.hidden_size))]
    for layer in settings.dense:
        activation = type(layer.activate())
        sizes = {"in_features": layer.in_features, "out_features": layer.out_features, "bias": layer.bias}
        modules.append(("Dense", {**sizes, "activation_function": f"{activation.__module__}.{activation.__name__}"}))
    modules += [("Normalize", {})] * settings.normalise
    weights = iter(model.dense)
    listed = [module_entry(0, "Transformer", "")]
    for number, (kind, config) in enumerate(modules, 1):
        place = folder / f"{number}_{kind}"
        place.mkdir()
        write_json(place / CONFIG, config)
        if kind == "Dense":
            tensors = {f"linear.{name}": tensor.contiguous() for name, tensor in next(weights).state_dict().items()}
            save_file(tensors, place / SINGLE_FILE, metadata={"format": "pt"})
        listed.append(module_entry(number, kind, place.name))
    prompts = dict(settings.prompts)
    if DOCUMENT not in prompts and (old := next((name for name in ITS_OLD_NAMES if name in prompts), None)):
        prompts[DOCUMENT] = prompts[old]
    about = {"prompts": prompts, "default_prompt_name": settings.default_prompt}
    about["similarity_fn_name"] = settings.similarity
    write_json(folder / SETTINGS[0], about)
    write_json(folder / LIMITS, {"max_seq_length": longest_text(model, tokenizer), "do_lower_case": False})
    write_json(folder / MODULES, listed)  # last, so that a folder with this file has the others


def _pooling(modes: Sequence[str], width: int) -> dict[str, Any]:
    """Return the configuration of a pooling in the form that all versions read, if that form can say it.

    It joins the vectors of several modes in one order only; another order needs the form of version 6.
    """
    ordered = [mode for mode in OLD_KEYS.values() if mode in modes]
    if ordered == list(modes):
        return {"word_embedding_dimension": width, **{key: mode in modes for key, mode in OLD_KEYS.items()}}
    return {"embedding_dimension": width, "pooling_mode": list(modes)}
