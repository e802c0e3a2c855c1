"""How a model makes a sentence's vector: pooling, dense layers, length 1, prompts, longest input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from torch import nn
from transformers import PretrainedConfig

from bistil_ds.embedding.pooling import MODES
from bistil_ds.errors import InputError

KEY = "sentence"  # under which a model's config.json, and the header of a sparse fine-tuning, hold the settings
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")  # as sentence-transformers calls them
ACTIVATIONS = ("Identity", "Tanh", "GELU", "ReLU", "SiLU", "Sigmoid", "LeakyReLU", "ELU")  # classes of torch.nn
LARGEST = 100_000  # values in a vector


@dataclass(frozen=True)
class DenseLayer:
    """A linear layer after the pooling, with an activation: the name of a class of torch.nn."""

    in_features: int
    out_features: int
    bias: bool = True
    activation: str = "Identity"

    def linear(self) -> nn.Linear:
        return nn.Linear(self.in_features, self.out_features, bias=self.bias)

    def activate(self) -> nn.Module:
        found: nn.Module = getattr(nn, self.activation)()
        return found


@dataclass(frozen=True)
class SentenceSettings:
    """How a model makes a sentence's vector from its last hidden states.

    Attributes:
        pooling: names of `MODES`; the vectors of several are joined.
        normalise: whether vectors are scaled to length 1, after the dense layers.
        prompts: name → text that stands before a sentence, such as `query` → `query: `.
        default_prompt: the name of the prompt that a text gets if its user names none; None: no prompt.
        max_length: longest input in tokens; None: as many as the model takes.
        dense: the layers after the pooling.
        similarity: by which its users compare vectors, one of `SIMILARITIES`; an exported folder says so.
    """

    pooling: tuple[str, ...] = ("mean",)
    normalise: bool = True
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    max_length: int | None = None
    dense: tuple[DenseLayer, ...] = ()
    similarity: str = SIMILARITIES[0]

    def __post_init__(self) -> None:
        if not self.pooling or (unknown := [mode for mode in self.pooling if mode not in MODES]):
            named = f"pooling {unknown[0]}: is not known" if self.pooling else "pooling: none is given"
            raise InputError(f"{named}; give one or several of {', '.join(MODES)}")
        if self.similarity not in SIMILARITIES:
            raise InputError(f"similarity {self.similarity!r:.40}: expected one of {', '.join(SIMILARITIES)}")
        if self.default_prompt is not None and self.default_prompt not in self.prompts:
            known = ", ".join(sorted(self.prompts)) or "none"
            raise InputError(f"default prompt {self.default_prompt!r:.40}: is not among the prompts ({known})")

    @property
    def prompt(self) -> str:
        """Return the text of the default prompt; "" if there is none."""
        return "" if self.default_prompt is None else self.prompts[self.default_prompt]

    @property
    def training_prompts(self) -> tuple[str, ...]:
        """Return the texts that stand before training sentences in turn: the distinct prompts, or else only ""."""
        return tuple(dict.fromkeys(self.prompts.values())) or ("",)

    def longest(self, limit: int) -> int:
        """Return the longest input in tokens under another limit."""
        return min(limit, self.max_length or limit)

    def steps(self) -> list[str]:
        """Return in words what turns last hidden states into a vector, step by step."""
        dense = [f"a dense layer ({layer.activation})" for layer in self.dense]
        return [f"pooling {', '.join(self.pooling)}", *dense, *["scaled to length 1"] * self.normalise]

    def describe(self, prompts: Mapping[str, str], longest: int) -> str:
        """Return in one line how vectors are made, also what is not done.

        Args:
            prompts: name → text of the prompts that are used; "" is none.
            longest: longest input in tokens.
        """
        used = ", ".join(f"{name} {text!r}" for name, text in prompts.items() if text)
        scaled = "" if self.normalise else ", not scaled to length 1"
        before = f"prompts: {used}" if used else "no prompt"
        return f"vectors: {', then '.join(self.steps())}{scaled}; {before}; at most {longest} tokens"

    def dimension(self, width: int) -> int:
        """Return the number of values in a vector of a model with hidden states of this width."""
        return self.dense[-1].out_features if self.dense else width * len(self.pooling)

    def check_width(self, width: int) -> None:
        """Raise InputError unless the dense layers fit each other and hidden states of this width."""
        size = width * len(self.pooling)
        for number, layer in enumerate(self.dense, 1):
            if layer.in_features != size:
                raise InputError(
                    f"dense layer {number} takes {layer.in_features} values, but gets {size}: give a model of the "
                    "width that the layer was made for"
                )
            size = layer.out_features

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them; `from_dict` reads them."""
        content = {**asdict(self), "pooling": list(self.pooling), "prompts": dict(self.prompts)}
        return {**content, "dense": [asdict(layer) for layer in self.dense]}

    @classmethod
    def from_dict(cls, content: Any, place: str) -> SentenceSettings:
        """Return the settings that `as_dict` wrote.

        Args:
            place: where they stand, for messages.

        Raises:
            InputError: they are not what `as_dict` writes.
        """
        wrong = InputError(f"{place}: {KEY!r} does not say how vectors are made ({content!r:.80}); save it again")
        if not isinstance(content, Mapping) or set(content) - {one.name for one in fields(cls)}:
            raise wrong
        try:
            dense = tuple(dense_layer(layer, place) for layer in content.get("dense", ()))
        except TypeError:
            raise wrong from None
        found = {**content, "dense": dense}
        kinds = {"normalise": bool, "default_prompt": str | None, "max_length": int | None}
        if not all(isinstance(found[name], kind) for name, kind in kinds.items() if name in found):
            raise wrong
        if not _are_strings(found.get("pooling", ["mean"])) or not _are_prompts(found.get("prompts", {})):
            raise wrong
        found["pooling"] = tuple(found.get("pooling", ["mean"]))
        try:
            return cls(**found)
        except InputError as error:
            raise InputError(f"{place}: {error}") from None

    @classmethod
    def of_config(cls, config: PretrainedConfig, place: str) -> SentenceSettings | None:
        """Return the settings that a model's configuration holds; None if it holds none.

        Raises:
            InputError: from `from_dict`.
        """
        content = getattr(config, KEY, None)
        return None if content is None else cls.from_dict(content, place)


def dense_layer(content: Mapping[str, Any], place: str) -> DenseLayer:
    """Return the dense layer that a mapping of its fields describes.

    Raises:
        InputError: a value is of another kind, or the activation is not one of `ACTIVATIONS`.
        TypeError: a field is unknown or missing.
    """
    layer = DenseLayer(**content)
    for size in (layer.in_features, layer.out_features):
        if type(size) is not int or not 1 <= size <= LARGEST:
            raise InputError(f"{place}: a dense layer has {size!r:.40} values; expected 1 to {LARGEST:,}")
    if type(layer.bias) is not bool:
        raise InputError(f"{place}: the bias of a dense layer is {layer.bias!r:.40}; expected true or false")
    if layer.activation not in ACTIVATIONS:
        raise InputError(
            f"{place}: the activation {layer.activation!r:.60} of a dense layer is not known; use one of "
            f"{', '.join(ACTIVATIONS)}"
        )
    return layer


def _are_strings(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(one, str) for one in value)


def _are_prompts(value: Any) -> bool:
    return isinstance(value, Mapping) and _are_strings([*value.keys(), *value.values()])
