"""The base of our own model classes: an encoder of any family of transformers, with a head of ours.

A model's config keeps the model type of its encoder. So `AutoConfig` and `AutoTokenizer` open the model's folder too,
and `AutoModel` loads the encoder alone.
"""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

from transformers import MODEL_MAPPING, AutoConfig, PretrainedConfig, PreTrainedModel

from bistil_ds.errors import InputError
from bistil_ds.models.config_file import check_config_file

HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "revision", "token", "trust_remote_code")


class EncoderWithHead(PreTrainedModel):
    """An encoder without a pooler, and the modules of a head.

    The names of the encoder's weights begin with the prefix of its family (`roberta.`, `bert.`); all other weights are
    the head. `family_class` makes a subclass for each family of encoders; every instance belongs to one. A class that
    derives from this one adds the head's modules in `__init__`, and then calls `post_init`.

    Attributes:
        head: the end of the names of the classes for the families, such as `ForDependencyParsing`.
        called: what the model is, in words, for messages.
    """

    head: ClassVar[str]
    called: ClassVar[str]

    @classmethod
    def from_pretrained(cls, folder: str | Path, *args: Any, **kwargs: Any) -> Self:
        """Load a model with this head, or put a new head on an encoder or masked language model.

        The arguments are those of transformers' `from_pretrained`; code that the folder names is never run.

        Raises:
            InputError: the model is not an encoder.
        """
        if EncoderWithHead not in cls.__bases__:  # the class of a family
            loaded: Self = super().from_pretrained(folder, *args, **kwargs)
            return loaded
        config = kwargs.pop("config", None)
        hub = {name: kwargs.pop(name) for name in HUB_ARGUMENTS if name in kwargs}
        hub["trust_remote_code"] = False
        if config is None:
            check_config_file(folder, "")
            config, kwargs = AutoConfig.from_pretrained(folder, return_unused_kwargs=True, **hub, **kwargs)
        ours: Any = cls  # mypy does not see that classes are hashable
        of: Any = type(config)
        kind: Any = family_class(ours, of)
        found: Self = kind.from_pretrained(folder, *args, config=config, **hub, **kwargs)
        return found

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config)
        encoder_class = MODEL_MAPPING[type(config)]
        takes_pooler = "add_pooling_layer" in inspect.signature(encoder_class).parameters
        no_pooler = {"add_pooling_layer": False} if takes_pooler else {}
        setattr(self, self.base_model_prefix, encoder_class(config, **no_pooler))


@cache
def family_class(kind: type[EncoderWithHead], config_class: type[PretrainedConfig]) -> type[Any]:
    """Make the class of a head for encoders with this config, such as `XLMRobertaForDependencyParsing`.

    Raises:
        InputError: no encoder of transformers has this config.
    """
    encoder_class = MODEL_MAPPING.get(config_class, None)
    family = next((c for c in getattr(encoder_class, "__mro__", ())[1:] if "base_model_prefix" in vars(c)), None)
    if family in (None, PreTrainedModel) or config_class().is_encoder_decoder:
        raise InputError(f"no {kind.called} can be built on a {config_class.__name__} model: give an encoder")
    name = config_class.__name__.removesuffix("Config") + kind.head
    return type(name, (kind, family), {"__module__": kind.__module__})
