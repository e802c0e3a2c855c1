"""An encoder of transformers that gives one vector for each text.

`SentenceEncoder.from_pretrained(folder)` loads one whose config says how it pools (`config.sentence`, see
`SentenceSettings`). Folders of sentence-transformers are loaded by `bistil_ds.tasks.models.load_task_model`.

Shapes: B texts, T tokens, E values of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.utils import ModelOutput

from bistil_ds.embedding.pooling import pool
from bistil_ds.embedding.settings import KEY, SentenceSettings
from bistil_ds.errors import InputError
from bistil_ds.models.with_head import EncoderWithHead

DENSE = "dense"  # name of the list of dense layers, the only modules of the head


@dataclass
class SentenceOutput(ModelOutput):
    """The outputs of a sentence encoder.

    Attributes:
        loss: always None: vectors have no gold labels.
        sentence_embedding: fp32 [B, E].
        hidden_states, attentions: those of the encoder, if the caller asked for them.
    """

    loss: Tensor | None = None
    sentence_embedding: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class SentenceEncoder(EncoderWithHead):
    """An encoder without its pooler, a pooling, and the dense layers that `config.sentence` names.

    `settings` are these `SentenceSettings`. The class of a family is called `BertForSentenceEmbedding` and the like.
    """

    head = "ForSentenceEmbedding"
    called = "sentence encoder"

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config)
        settings = SentenceSettings.of_config(config, config.name_or_path)
        if settings is None:
            raise InputError(f"{config.name_or_path}: does not say how it makes vectors ({KEY!r} in config.json)")
        settings.check_width(config.hidden_size)
        self.settings = settings
        self.dense = nn.ModuleList(layer.linear() for layer in settings.dense)
        self._activations = [layer.activate() for layer in settings.dense]  # no modules of the head: without weights
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        targets: Tensor | None = None,
        **kwargs: Any,
    ) -> SentenceOutput:
        """Return the vector of each text.

        Args:
            input_ids, attention_mask: [B, T].
            token_type_ids: [B, T], for encoders that take them.
            targets: not read; a batch of task `embed` names by it the texts whose vectors a student imitates.
            kwargs: go to the encoder (`output_hidden_states` ...).
        """
        if token_type_ids is not None:
            kwargs["token_type_ids"] = token_type_ids
        encoded = self.base_model(input_ids, attention_mask=attention_mask, **{**kwargs, "return_dict": True})
        vectors_BE = pool(encoded.last_hidden_state, attention_mask, self.settings.pooling)
        for linear, activate in zip(self.dense, self._activations, strict=True):
            weight: Any = linear.weight  # mypy sees it as Tensor or Module
            vectors_BE = activate(linear(vectors_BE.to(weight.dtype))).float()
        if self.settings.normalise:
            vectors_BE = nn.functional.normalize(vectors_BE, dim=-1)
        return SentenceOutput(
            sentence_embedding=vectors_BE,
            hidden_states=getattr(encoded, "hidden_states", None),
            attentions=getattr(encoded, "attentions", None),
        )

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Start dense layers as the identity, so that every load starts from the same model."""
        if isinstance(module, nn.Linear) and any(module is one for one in self.dense):
            nn.init.eye_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        else:
            super()._init_weights(module)
