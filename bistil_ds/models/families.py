"""Record of each supported model family: how its models name their modules and weights, and what a student must keep.

The rest of the package asks these records. To support another family, add its record to `FAMILIES`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from bistil_ds.errors import InputError

CLASSIFIER = "classifier"  # name of the module that classifies tokens or sequences, in every family
POOLER = "pooler"  # name of the base model's module that makes a vector of the first token, in families that have one

# Names of parameters with a row or an entry for each token: word embeddings, output layers and their biases.
VOCABULARY_NAME = re.compile(
    r"(word_embeddings|embed_tokens|tok_embeddings|decoder|lm_head|vocab_projector)\.(weight|bias)$"
    r"|predictions\.bias$"
)


@dataclass(frozen=True)
class LayerNames:
    """Names of the linear modules and the two layer norms of an encoder layer, as in a model's `state_dict`.

    In the feed-forward part, `inner` projects to the intermediate width, and `output` back to the hidden width.
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
class Head:
    """Names of the modules and the bias of a masked-LM head, in a model that has one.

    Attributes:
        first: the module that is called with the encoder's last state. It is the decoder itself, contains the decoder,
            or is called before it.
        decoder: the linear module that projects to the vocabulary.
        bias: a parameter of the head with the decoder's bias: the same tensor as the decoder's own `bias`, or a second
            one. None if the decoder has no bias or only its own.
        dense, norm: the linear module and the layer norm before the decoder; None if nothing comes before it.
        activation: the activation between `dense` and `norm`; None: that of the encoder's layers.
    """

    first: str
    decoder: str
    bias: str | None = None
    dense: str | None = None
    norm: str | None = None
    activation: str | None = None


@dataclass(frozen=True)
class Family:
    """How the models of one type name their parts, what their layers need, and how they count positions.

    Attributes:
        encoder: name of the base model in a model with a head; "" in the record of a model that is a base model.
        head: the masked-LM head; None in the record of a base model, which has none.
        layer_list: name of the list of layers, in the base model.
        query_key: names of the modules that compute queries and keys, in a layer. A fused module also computes values.
        value: name of the module that computes values, in a layer.
        norm_before_attention: for families with norms before the sub-layers ("pre-norm"): name of the norm before
            attention, in a layer. None for other families.
        final_norm: for pre-norm families: name of the norm after the last layer, in the base model. transformers
            returns the state after this norm as the last hidden state, but the states of earlier layers without it. So
            a student's last layer must start from the teacher's last layer: both last states then come after the norm.
        first_layer_stays: whether layer 0 differs from the others (ModernBERT's has no norm before attention). It can
            then start only from the teacher's layer 0, and no other layer can.
        per_layer: attributes of the configuration that list a value for each layer. A student has the values of the
            teacher layers that it starts from.
        positions_after_padding: whether positions are numbered from the padding id + 1, not from 0.
        bert_layers: whether layers and embeddings have BERT's names, which `layer` and `embedding_tables` return. Only
            models with these names that are not pre-norm can be narrowed.
        maps_observable: whether attention goes through transformers' `AttentionInterface`, so that maps can be seen.
        never_called: names of modules in the base model whose weights other modules read without calling them. Sparse
            training cannot see the gradients of single entries there, and leaves these weights as they are.
        first_names: names of modules and weights in the folders of the family's first code → in transformers' models.
        gated: whether the feed-forward part multiplies two projections to the intermediate width (GeGLU, SwiGLU).
        unread: patterns of weights in hub folders of this family that transformers does not read, and need not.
        settings: values that the configuration must have, because transformers builds another model of it otherwise.
        since: the first version of transformers that has the family, from the oldest that this package takes.
        remote_code_is_native: whether transformers has taken over the code that hub folders of this family name
            (`auto_map`), with the same model type and the same names of weights.
    """

    encoder: str
    head: Head | None
    layer_list: str = "layers"
    query_key: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj")
    value: str = "self_attn.v_proj"
    norm_before_attention: str | None = None
    final_norm: str | None = None
    first_layer_stays: bool = False
    per_layer: tuple[str, ...] = ()
    positions_after_padding: bool = False
    bert_layers: bool = False
    maps_observable: bool = True
    never_called: tuple[str, ...] = ()
    gated: bool = False
    first_names: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    since: str = "5.17"
    remote_code_is_native: bool = False

    @property
    def pre_norm(self) -> bool:
        """Return whether norms come before the sub-layers."""
        return self.norm_before_attention is not None

    @property
    def layers(self) -> str:
        """Return the name of the list of layers."""
        return self._in_encoder(self.layer_list)

    @property
    def embedding_tables(self) -> list[str]:
        """Return the names of the weights that add up to BERT's embeddings: of words, positions and token types."""
        return [
            self._in_encoder(f"embeddings.{table}_embeddings.weight") for table in ("word", "position", "token_type")
        ]

    @property
    def embedding_norm(self) -> str:
        """Return the name of the layer norm after BERT's embeddings."""
        return self._in_encoder("embeddings.LayerNorm")

    def layer(self, index: int) -> LayerNames:
        """Return the names of the modules in encoder layer `index` (from 0), which are BERT's names."""
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

    def follows_the_last_map(self, name: str, layers: int, values_count: bool = False) -> bool:
        """Return whether the parameter `name` of an encoder with `layers` layers changes none of its attention maps.

        This is true for the parameters of the last layer that come after its queries and keys and, in a `pre_norm`
        model, for the norm after the last layer. With `values_count`, it is not true for the last layer's values.
        """
        last = f"{self.layers}.{layers - 1}."
        modules = (*self.query_key, self.norm_before_attention, self.value if values_count else None)
        before = tuple(f"{module}." for module in modules if module)
        is_behind = name.startswith(last) and not name.removeprefix(last).startswith(before)
        return is_behind or (self.final_norm is not None and name.startswith(f"{self._in_encoder(self.final_norm)}."))

    def _in_encoder(self, name: str) -> str:
        return f"{self.encoder}.{name}" if self.encoder else name


_BERT_QUERY_KEY = ("attention.self.query", "attention.self.key")
_BERT = Family(
    encoder="bert",
    head=Head(
        first="cls",
        decoder="cls.predictions.decoder",
        bias="cls.predictions.bias",
        dense="cls.predictions.transform.dense",
        norm="cls.predictions.transform.LayerNorm",
    ),
    layer_list="encoder.layer",
    query_key=_BERT_QUERY_KEY,
    value="attention.self.value",
    bert_layers=True,
)
_ROBERTA_HEAD = Head(
    first="lm_head",
    decoder="lm_head.decoder",
    bias="lm_head.bias",
    dense="lm_head.dense",
    norm="lm_head.layer_norm",
    activation="gelu",
)
_ROBERTA = replace(_BERT, encoder="roberta", head=_ROBERTA_HEAD, positions_after_padding=True)
# model type, as `config.json` spells it → its family
FAMILIES = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "xlm-roberta-xl": replace(
        _ROBERTA, norm_before_attention="attention.self_attn_layer_norm", final_norm="encoder.LayerNorm"
    ),
    "modernbert": Family(
        encoder="model",
        head=Head(first="head", decoder="decoder", dense="head.dense", norm="head.norm", activation="gelu"),
        query_key=("attn.Wqkv",),
        value="attn.Wqkv",
        norm_before_attention="attn_norm",
        final_norm="final_norm",
        first_layer_stays=True,
        per_layer=("layer_types",),
        gated=True,
    ),
    "eurobert": Family(
        encoder="model",
        head=Head(first="lm_head", decoder="lm_head"),
        norm_before_attention="input_layernorm",
        final_norm="norm",
        gated=True,
        remote_code_is_native=True,
    ),
    "gte": Family(encoder="gte", head=replace(_ROBERTA_HEAD, bias=None), gated=True, since="5.18"),
    "jina_embeddings_v3": Family(encoder="roberta", head=_ROBERTA_HEAD),
    "deberta-v2": replace(
        _BERT,
        encoder="deberta",
        query_key=("attention.self.query_proj", "attention.self.key_proj"),
        value="attention.self.value_proj",
        bert_layers=False,
        maps_observable=False,
        never_called=("encoder.rel_embeddings",),
        unread=(
            r"embeddings\.(word|position)_embeddings\._weight$",
            r"embeddings\.position_embeddings\.weight$",  # is read, and so expected, if `position_biased_input` is set
        ),
        settings={"legacy": True},
        first_names={
            "lm_predictions.lm_head.dense": "cls.predictions.transform.dense",
            "lm_predictions.lm_head.LayerNorm": "cls.predictions.transform.LayerNorm",
            "lm_predictions.lm_head.bias": "cls.predictions.bias",
        },
    ),
}
SUPPORTED_MODEL_TYPES = tuple(FAMILIES)
# Other model types whose positions start after the padding id. They can learn tasks, but no student is built from them.
OTHERS_AFTER_PADDING = frozenset(
    ("camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta-prelayernorm", "xmod")
)


def family_of(model: PreTrainedModel) -> Family:
    """Return the family of a model, as its names are in this model: with a masked-LM head, or a base model without.

    Raises:
        InputError: the model is of another type.
    """
    check_supported(model.config)
    family = FAMILIES[model.config.model_type]
    return replace(family, encoder="", head=None) if model.base_model is model else family


def has_masked_lm_head(model: PreTrainedModel) -> bool:
    """Return whether a model of a supported type has a masked-LM head."""
    return model.get_output_embeddings() is not None


def positions_after_padding(model_type: str) -> bool:
    """Return whether models of this type, supported or not, number their positions from the padding id + 1."""
    family = FAMILIES.get(model_type)
    return model_type in OTHERS_AFTER_PADDING if family is None else family.positions_after_padding


def check_supported(config: PretrainedConfig) -> None:
    """Raise InputError unless a student can be distilled from models of this configuration."""
    kind = config.model_type
    if kind not in FAMILIES:
        raise InputError(f"no student can be built from a model of type {kind!r}: give one of {', '.join(FAMILIES)}")
    if getattr(config, "is_decoder", False) or config.is_encoder_decoder:
        raise InputError(f"its config.json makes the {kind} model a decoder: give an encoder (is_decoder false)")
    for name, value in FAMILIES[kind].settings.items():
        if (found := getattr(config, name, value)) != value:
            raise InputError(f"{name} is {found} in its config.json: set it to {json.dumps(value)}, as for all {kind}")


def is_norm(module: nn.Module) -> bool:
    """Return whether the module is a layer norm or an RMS norm, of torch's class or of a model family's own."""
    return isinstance(module, (nn.LayerNorm, nn.RMSNorm)) or type(module).__name__.endswith(("LayerNorm", "RMSNorm"))


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """Return the list of encoder layers of a supported model."""
    layers = model.get_submodule(family_of(model).layers)
    assert isinstance(layers, nn.ModuleList)
    return layers
