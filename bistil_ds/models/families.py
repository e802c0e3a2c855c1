"""Where the parts of the supported masked language models are: BERT, RoBERTa, XLM-R and XLM-R XL/XXL."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from bistil_ds.errors import InputError

SUPPORTED_MODEL_TYPES = ("bert", "roberta", "xlm-roberta", "xlm-roberta-xl")


@dataclass(frozen=True)
class Family:
    """Names inside one model's `state_dict`; `pre_norm` says that layer norms stand before the sub-layers."""

    encoder: str
    head_dense: str
    head_norm: str
    decoder: str
    decoder_bias: str
    head_activation: str | None = None  # None: the same as in the layers
    pre_norm: bool = False

    @property
    def layers(self) -> str:
        """Name of the list of layers."""
        return f"{self.encoder}.encoder.layer"

    @property
    def embeddings(self) -> str:
        """Name of the embeddings module."""
        return f"{self.encoder}.embeddings"


def family_of(model: PreTrainedModel) -> Family:
    """The family of a masked language model.

    Raises:
        InputError: the model is of another type, or has no masked-LM head.
    """
    model_type = model.config.model_type
    if model_type not in SUPPORTED_MODEL_TYPES:
        raise InputError(
            f"no student can be built from a model of type {model_type!r}: "
            f"give one of the types {', '.join(SUPPORTED_MODEL_TYPES)}"
        )
    if model.get_output_embeddings() is None:
        raise InputError(
            f"{type(model).__name__} has no masked-LM head: load the {model_type} teacher with AutoModelForMaskedLM"
        )
    if model_type == "bert":
        head = "cls.predictions"
        return Family(
            "bert", f"{head}.transform.dense", f"{head}.transform.LayerNorm", f"{head}.decoder", f"{head}.bias"
        )
    return Family(
        "roberta",
        "lm_head.dense",
        "lm_head.layer_norm",
        "lm_head.decoder",
        "lm_head.bias",
        head_activation="gelu",
        pre_norm=model_type == "xlm-roberta-xl",
    )


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The list of encoder layers of a supported model."""
    layers = model.get_submodule(family_of(model).layers)
    assert isinstance(layers, nn.ModuleList)
    return layers
