"""Name the modules and weights of the supported masked language models, one `Family` for each model type."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from bistil_ds.errors import InputError

CLASSIFIER = "classifier"  # name of the module that classifies tokens or sequences, in every family

# Names of parameters with a row or an entry for each token: word embeddings, output layers and their biases.
VOCABULARY_NAME = re.compile(
    r"(word_embeddings|embed_tokens|decoder|vocab_projector)\.(weight|bias)$|(lm_head|predictions)\.bias$"
)


@dataclass(frozen=True)
class LayerNames:
    """Names of the linear modules and the two layer norms of an encoder layer, as in a model's `state_dict`.

    In the feed-forward part, `inner` projects to the intermediate width, and `output` back to the hidden width.
    `attention_norm` and `norm` exist only if the family is not `pre_norm`.
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
    """How the models of one type name their parts in `state_dict`, and how they count positions.

    Attributes:
        encoder: the base model.
        head_dense, head_norm: the linear module and the layer norm in the masked-LM head, before the decoder.
        decoder: the linear module that projects to the vocabulary.
        decoder_bias: a parameter of the head with the decoder's bias: the same tensor as the decoder's own `bias`, or a
            second one.
        head_activation: the activation between `head_dense` and `head_norm`; None: that of the encoder's layers.
        norm_before_attention: for models with layer norms before the sub-layers ("pre-norm"): the name, within a layer,
            of the norm before attention; None for other models. A student of a pre-norm model can have fewer layers,
            but not a smaller width.
        final_norm: for pre-norm models, the name in the encoder of the layer norm after the last layer.
        positions_after_padding: whether positions are numbered from the padding id + 1, not from 0.
    """

    encoder: str
    head_dense: str
    head_norm: str
    decoder: str
    decoder_bias: str
    head_activation: str | None = None
    norm_before_attention: str | None = None
    final_norm: str | None = None
    positions_after_padding: bool = False

    @property
    def head(self) -> str:
        """Return the name of the masked-LM head, of which the decoder is a part."""
        return self.decoder.partition(".")[0]

    @property
    def pre_norm(self) -> bool:
        """Return whether layer norms come before the sub-layers."""
        return self.norm_before_attention is not None

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
        """Return the names of the modules in encoder layer `index` (from 0)."""
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
        """Return whether the parameter `name` of an encoder with `layers` layers changes none of its attention maps.

        This is true for the parameters of the last layer that come after its queries and keys and, in a `pre_norm`
        model, for the layer norm after the last layer.
        """
        last = f"{self.layers}.{layers - 1}."
        before = ("attention.self.query.", "attention.self.key.", f"{self.norm_before_attention}.")
        is_behind = name.startswith(last) and not name.removeprefix(last).startswith(before)
        return is_behind or name.startswith(f"{self.encoder}.{self.final_norm}.")


_BERT = Family(
    encoder="bert",
    head_dense="cls.predictions.transform.dense",
    head_norm="cls.predictions.transform.LayerNorm",
    decoder="cls.predictions.decoder",
    decoder_bias="cls.predictions.bias",
)
_ROBERTA = Family(
    encoder="roberta",
    head_dense="lm_head.dense",
    head_norm="lm_head.layer_norm",
    decoder="lm_head.decoder",
    decoder_bias="lm_head.bias",
    head_activation="gelu",
    positions_after_padding=True,
)
# model type, as `config.json` spells it → its family
FAMILIES = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "xlm-roberta-xl": replace(
        _ROBERTA, norm_before_attention="attention.self_attn_layer_norm", final_norm="encoder.LayerNorm"
    ),
}
SUPPORTED_MODEL_TYPES = tuple(FAMILIES)
# Other model types whose positions start after the padding id. They can learn tasks, but no student is built from them.
OTHERS_AFTER_PADDING = frozenset(
    ("camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta-prelayernorm", "xmod")
)


def family_of(model: PreTrainedModel) -> Family:
    """Return the family of a masked language model.

    Raises:
        InputError: the model is of another type, or has no masked-LM head.
    """
    model_type = model.config.model_type
    if model_type not in FAMILIES:
        raise InputError(
            f"no student can be built from a model of type {model_type!r}: give one of the types {', '.join(FAMILIES)}"
        )
    if model.get_output_embeddings() is None:
        raise InputError(
            f"{type(model).__name__} has no masked-LM head: load the {model_type} teacher with AutoModelForMaskedLM"
        )
    return FAMILIES[model_type]


def positions_after_padding(model_type: str) -> bool:
    """Return whether models of this type, supported or not, number their positions from the padding id + 1."""
    family = FAMILIES.get(model_type)
    return model_type in OTHERS_AFTER_PADDING if family is None else family.positions_after_padding


def check_teacher_config(config: PretrainedConfig) -> None:
    """Raise InputError unless a student can be distilled from models of this configuration."""
    if config.model_type not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise InputError(f"is a {config.model_type} model; supported are {known}")
    if not any("ForMaskedLM" in kind or "ForPreTraining" in kind for kind in config.architectures or ["ForMaskedLM"]):
        kind = config.architectures[0]
        raise InputError(f"is a {kind}, not a masked language model; give a ...ForMaskedLM")


def is_norm(module: nn.Module) -> bool:
    """Return whether the module is a layer norm or an RMS norm, of torch's class or of a model family's own."""
    return isinstance(module, (nn.LayerNorm, nn.RMSNorm)) or type(module).__name__.endswith(("LayerNorm", "RMSNorm"))


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """Return the list of encoder layers of a supported model."""
    layers = model.get_submodule(family_of(model).layers)
    assert isinstance(layers, nn.ModuleList)
    return layers
