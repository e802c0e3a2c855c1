"""Name and load the models that are compared: shapes of ours, model folders and hub ids.

Our shapes are massively multilingual Transformers (MMTs), their students and other small models. Time, memory and
energy depend on a model's shape and its input, not on the values of its weights. Our shapes therefore have random
weights, and nothing is downloaded for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedModel,
    XLMRobertaConfig,
    XLMRobertaXLConfig,
)

from bistil_ds.errors import InputError
from bistil_ds.models.inputs import load_config, longest_input
from bistil_ds.models.loading import load_pretrained
from bistil_ds.student.layer_map import choose_layers
from bistil_ds.student.layers import shallow_config

XLMR, MBERT = "XLM-R-base", "mBERT"
FACTORS, VOCABULARIES = (2, 3), (30_000, 60_000)  # of students: layer reduction factors, tokens in a vocabulary
MMTS = (XLMR, MBERT)
LARGE = ("XLM-R-large", "XLM-R-XL", "XLM-R-XXL")
NEWER = ("mmBERT-base",)
OTHERS = {"DistilmBERT": MBERT, "mMiniLM-L12-H384": XLMR, "mMiniLM-L6-H384": XLMR}
XLMR_INPUTS: dict[str, Any] = {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
# width, layers, heads, inner width of the feed-forward layers
WIDTHS = {"XLM-R-large": (1024, 24, 16, 4096), "XLM-R-XL": (2560, 36, 32, 10240), "XLM-R-XXL": (4096, 48, 32, 16384)}


def student_name(mmt: str, factor: int, vocabulary: int) -> str:
    """Return a student's name, such as `mBERT k2 30k` for factor 2 and 30,000 tokens."""
    return f"{mmt} k{factor} {vocabulary // 1000}k"


def students_of(mmt: str) -> list[str]:
    """Return the names of an MMT's students: most layers first, then the larger vocabulary."""
    return [student_name(mmt, k, vocabulary) for k in FACTORS for vocabulary in reversed(VOCABULARIES)]


def default_names() -> list[str]:
    """Return the names of the models that are compared by default: each MMT and its students, then the others."""
    return [name for mmt in MMTS for name in (mmt, *students_of(mmt))] + list(OTHERS)


def config_of(name: str) -> PretrainedConfig:
    """Return the configuration of a model: one of our shapes, a folder or a hub id.

    Raises:
        InputError: the name is none of these, or its configuration cannot be loaded.
    """
    if (ours := _our_config(name)) is not None:
        return ours
    return load_config("--model", name)


def check_models(names: Sequence[str], length: int, *, tokenizers: bool = False) -> None:
    """Raise InputError unless all models exist, take `length` tokens and have different labels.

    With `tokenizers`, also raise it for our shapes, because they have no tokenizer.
    """
    for name in names:
        if length > (longest := longest_input(config_of(name))):
            raise InputError(f"--model {name}: takes at most {longest} tokens, and {length} are to be measured")
        if tokenizers and is_ours(name):
            raise InputError(
                f"--model {name}: is a shape, which has no tokenizer for texts; give folders or hub ids of models"
            )
    if twice := [name for name in names if [label_of(each) for each in names].count(label_of(name)) > 1]:
        raise InputError(f"--model: {' '.join(twice)} have one name; rename a folder")


def is_ours(name: str) -> bool:
    """Return whether `name` is one of our shapes, which have no weights of their own."""
    return _our_config(name) is not None


def reference_of(name: str, names: Sequence[str]) -> str:
    """Return the name of the model that `name` is compared with: its MMT if that is in `names`, else the first name.

    An MMT is its own reference.
    """
    mmt = OTHERS.get(name) or next(
        (each for each in (*MMTS, *LARGE, *NEWER) if name == each or name.startswith(f"{each} k")), ""
    )
    return mmt if mmt in names else names[0]


def load_encoder(name: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Load the encoder in eval mode, without pooler and vocabulary head; our shapes get random weights."""
    if (config := _our_config(name)) is not None:
        torch.manual_seed(0)
        model = AutoModel.from_config(config, dtype=dtype)
    else:
        model, _ = load_pretrained(AutoModel, name, flag="--model", dtype=dtype)
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model.eval()


def label_of(name: str) -> str:
    """Return what tables call a model: the last component of a folder's path, else its name."""
    return Path(name).name if Path(name).is_dir() else name


def _our_config(name: str) -> PretrainedConfig | None:
    for mmt in (*MMTS, *LARGE, *NEWER):
        if name == mmt:
            return _mmt_config(mmt)
        for factor in (1, *FACTORS):  # 1: all layers, with a trimmed vocabulary
            for vocabulary in VOCABULARIES:
                if name == student_name(mmt, factor, vocabulary):
                    return _student_config(_mmt_config(mmt), factor, vocabulary)
    if name == "DistilmBERT":
        return DistilBertConfig(vocab_size=119_547)
    if name == "mMiniLM-L12-H384":
        return BertConfig(vocab_size=250_037, hidden_size=384, num_attention_heads=12, intermediate_size=1536)
    if name == "mMiniLM-L6-H384":
        return XLMRobertaConfig(vocab_size=250_002, **_shape(384, 6, 12, 1536), **XLMR_INPUTS)
    return None


def _mmt_config(name: str) -> PretrainedConfig:
    if name == MBERT:
        return BertConfig(vocab_size=119_547)
    if name == XLMR:
        return XLMRobertaConfig(vocab_size=250_002, **XLMR_INPUTS)
    if name == "XLM-R-large":
        return XLMRobertaConfig(vocab_size=250_002, **_shape(*WIDTHS[name]), **XLMR_INPUTS)
    if name == "mmBERT-base":
        special = {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 1, "sep_token_id": 1}
        return ModernBertConfig(vocab_size=256_000, **_shape(768, 22, 12, 1152), **special)
    return XLMRobertaXLConfig(vocab_size=250_880, **_shape(*WIDTHS[name]), **XLMR_INPUTS)


def _shape(width: int, layers: int, heads: int, inner: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
    }


def _student_config(mmt: PretrainedConfig, factor: int, vocabulary: int) -> PretrainedConfig:
    config = shallow_config(mmt, choose_layers(mmt, factor))
    config.vocab_size = vocabulary
    return config
