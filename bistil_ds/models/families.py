"""Name the modules and weights of the supported masked language models: BERT, RoBERTa, XLM-R and XLM-R XL/XXL."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from bistil_ds.errors import InputError

SUPPORTED_MODEL_TYPES = ("bert", "roberta", "xlm-roberta", "xlm-roberta-xl")


CLASSIFIER = "classifier"  # in every family, the module that classifies tokens or sequences

# Parameters with a row (or an entry) for each vocabulary item: word embeddings, output layers and their biases.
VOCABULARY_NAME = re.compile(
    r"(word_embeddings|embed_tokens|decoder|vocab_projector)\.(weight|bias)$|(lm_head|predictions)\.bias$"
)


@dataclass(frozen=True)
class LayerNames:
    """Names of one encoder layer's modules in a model's `state_dict`: linear modules, and the two layer norms.

    `inner` is the feed-forward's linear module into the intermediate width, `output` its linear module back out. Only
    models without `pre_norm` have layer norms of these names.
    """

    query: str
    key: str
    value: str
    attention_output: str
    attention_norm: str
    inner: str
    output: str
    norm: str


@dataclass(frozen=True)
class Family:
    """Names inside one model's `state_dict`; with `pre_norm`, layer norms come before the sub-layers, not after."""

    encoder: str
    head_dense: str
    head_norm: str
    decoder: str
    decoder_bias: str
    head_activation: str | None = None  # None: the activation of the encoder's layers
    pre_norm: bool = False

    @property
    def layers(self) -> str:
        """Return the name of the list of layers."""
        return f"{self.encoder}.encoder.layer"

    @property
    def embeddings(self) -> str:
        """Return the name of the embeddings module."""
        return f"{self.encoder}.embeddings"

    @property
    def embedding_tables(self) -> list[str]:
        """Return the names of the weights that add up to the embeddings: of words, positions and token types."""
        return [f"{self.embeddings}.{table}_embeddings.weight" for table in ("word", "position", "token_type")]

    @property
    def embedding_norm(self) -> str:
        """Return the name of the layer norm after the embeddings."""
        return f"{self.embeddings}.LayerNorm"

    def layer(self, index: int) -> LayerNames:
        """Return the names of the modules in encoder layer `index`, counted from 0."""
        layer = f"{self.layers}.{index}"
        attention = f"{layer}.attention"
        return LayerNames(
            query=f"{attention}.self.query",
            key=f"{attention}.self.key",
            value=f"{attention}.self.value",
            attention_output=f"{attention}.output.dense",
            attention_norm=f"{attention}.output.LayerNorm",
            inner=f"{layer}.intermediate.dense",
            output=f"{layer}.output.dense",
            norm=f"{layer}.output.LayerNorm",
        )

    def follows_the_last_map(self, name: str, layers: int) -> bool:
        """Return whether no attention map of an encoder with `layers` layers depends on its parameter `name`.

        Such parameters are those of the last layer that its queries and keys do not depend on, and those of the layer
        norm that follows the last layer in a `pre_norm` model.
        """
        last = f"{self.layers}.{layers - 1}."
        before = ("attention.self.query", "attention.self.key", "attention.self_attn_layer_norm")
        is_behind = name.startswith(last) and not name.removeprefix(last).startswith(before)
        return is_behind or name.startswith(f"{self.encoder}.encoder.LayerNorm.")


def family_of(model: PreTrainedModel) -> Family:
    """Return the family of a masked language model.

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


def check_teacher_config(config: PretrainedConfig) -> None:
    """Raise InputError unless a student can be distilled from models of this configuration."""
    if config.model_type not in SUPPORTED_MODEL_TYPES:
        known = ", ".join(sorted(SUPPORTED_MODEL_TYPES))
        raise InputError(f"is a {config.model_type} model; supported are {known}")
    if not any("ForMaskedLM" in kind or "ForPreTraining" in kind for kind in config.architectures or ["ForMaskedLM"]):
        kind = config.architectures[0]
        raise InputError(f"is a {kind}, not a masked language model; give a ...ForMaskedLM")


def is_norm(module: nn.Module) -> bool:
    """Return whether the module is a layer norm or an RMS norm, either torch's or a model family's own class."""
    return isinstance(module, (nn.LayerNorm, nn.RMSNorm)) or type(module).__name__.endswith(("LayerNorm", "RMSNorm"))


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """Return the list of encoder layers of a supported model."""
    layers = model.get_submodule(family_of(model).layers)
    assert isinstance(layers, nn.ModuleList)
    return layers
