"""A biaffine dependency parser (Dozat and Manning, arXiv 1611.01734) on any encoder of transformers.

`BiaffineParser.from_pretrained(folder)` loads a finished parser, or puts a new parser head on a masked language model
or a bare encoder. A parser's config keeps the model type of the encoder. So `AutoConfig` and `AutoTokenizer` open the
parser's folder too, and `AutoModel` loads the encoder alone.

The state of a word's first subword represents the word; the state of the first token represents the root.

The published parser (Glavaš and Vulić) scores encoder states directly, with a D x D matrix for each relation. For XLM-R
base, these are 22 million parameters, which a sparse fine-tuning would all train and save. This parser first projects
the states to 256 values (arcs) and 128 values (relations), as Dozat and Manning do. So its head has only 1.3 million
parameters.

Shapes: B sentences, T tokens, W words, D encoder width, R relations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.utils import ModelOutput

from bistil_ds.models.head import IGNORED
from bistil_ds.models.with_head import EncoderWithHead
from bistil_ds.tasks.parsing.biaffine import ArcScorer, GlorotLinear, RelationScorer, start_weight

PARSER_MODULES = ("arc_scorer", "relation_scorer")
NO_HEAD = -1e4  # score of a position that cannot be a word's head: padding, and the word itself


@dataclass
class ParserOutput(ModelOutput):
    """The outputs of a parser.

    Attributes:
        loss: cross-entropy of the heads; with gold relations, plus that of the relations on the gold arcs. Each is a
            mean over annotated words. None without gold heads.
        arc_logits: fp32 [B, W, W + 1], the score of each possible head for each word. Column 0 is the root, column i is
            word i. A column that cannot be the word's head has -1e4.
        relation_logits: fp32 [B, W, R] on the gold arcs; None without gold heads.
        relations: int64 [B, W, W + 1], the best relation of every arc; None in training.
        hidden_states, attentions: those of the encoder, if the caller asked for them.
    """

    loss: Tensor | None = None
    arc_logits: Tensor | None = None
    relation_logits: Tensor | None = None
    relations: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class BiaffineParser(EncoderWithHead):
    """An encoder with scorers of arcs and relations; `config.id2label` names the relations.

    The names of the encoder's weights begin with the prefix of its family (`roberta.`, `bert.`); all other weights are
    the task head. `config.arc_width` (default 256) and `config.relation_width` (default 128) are the widths in the
    head. `family_class` makes a subclass for each family of encoders, such as `XLMRobertaForDependencyParsing`; every
    instance belongs to one.
    """

    head = "ForDependencyParsing"
    called = "dependency parser"

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config)
        config.arc_width = getattr(config, "arc_width", 256)  # saved, so a parser's folder does not depend on it
        config.relation_width = getattr(config, "relation_width", 128)
        self.arc_scorer = ArcScorer(config.hidden_size, config.arc_width)
        self.relation_scorer = RelationScorer(config.hidden_size, config.relation_width, config.num_labels)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, GlorotLinear):
            start_weight(module.weight)
            nn.init.zeros_(module.bias)
        else:
            super()._init_weights(module)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        word_positions: Tensor | None = None,
        heads: Tensor | None = None,
        relations: Tensor | None = None,
        **kwargs: Any,
    ) -> ParserOutput:
        """Score every arc, and the relations of the gold arcs; in evaluation mode, find each arc's best relation too.

        Args:
            input_ids, attention_mask: [B, T]; the state of the first token represents the root.
            token_type_ids: [B, T], for encoders that take them.
            word_positions: int64 [B, W], the position of each word's first token; -1 is padding.
            heads: int64 [B, W], gold heads: 0 is the root, i is word i, -100 is unknown.
            relations: int64 [B, W], gold relations; -100 is unknown.
            kwargs: go to the encoder (`output_hidden_states` ...).

        Raises:
            ValueError: `word_positions` is missing.
        """
        if word_positions is None:
            raise ValueError("a parser needs word_positions: the first subword of each word")
        if token_type_ids is not None:
            kwargs["token_type_ids"] = token_type_ids
        encoded = self.base_model(input_ids, attention_mask=attention_mask, **{**kwargs, "return_dict": True})
        states_BTD = encoded.last_hidden_state
        there_BW = word_positions >= 0
        index_BWD = word_positions.clamp(min=0).unsqueeze(-1).expand(-1, -1, states_BTD.shape[-1])
        words_BWD = states_BTD.gather(1, index_BWD)
        heads_BHD = torch.cat([states_BTD[:, :1], words_BWD], dim=1)
        arc_logits_BWH = self.arc_scorer(words_BWD, heads_BHD).float().masked_fill(_no_head(there_BW), NO_HEAD)
        loss = relation_logits_BWR = best_BWH = None
        if heads is not None:
            relation_logits_BWR = self.relation_scorer(words_BWD, heads_BHD, heads.clamp(min=0), None).float()
            loss = _cross_entropy(arc_logits_BWH, heads)
            if relations is not None:
                loss = loss + _cross_entropy(relation_logits_BWR, relations)
        if not self.training:
            root = self.config.label2id.get("root")  # in UD, only the arc from the root has this relation
            best_BWH = self.relation_scorer(words_BWD, heads_BHD, None, root)
        return ParserOutput(
            loss=loss,
            arc_logits=arc_logits_BWH,
            relation_logits=relation_logits_BWR,
            relations=best_BWH,
            hidden_states=getattr(encoded, "hidden_states", None),
            attentions=getattr(encoded, "attentions", None),
        )


def _no_head(there_BW: Tensor) -> Tensor:
    """Return bool [B, W, W + 1], True in the columns that cannot be the word's head: padding, and the word itself."""
    words = there_BW.shape[1]
    padding_BH = nn.functional.pad(~there_BW, (1, 0), value=False)
    place_W = torch.arange(words, device=there_BW.device)
    itself_WH = place_W[:, None] + 1 == torch.arange(words + 1, device=there_BW.device)
    return padding_BH[:, None, :] | itself_WH


def _cross_entropy(logits: Tensor, gold_BW: Tensor) -> Tensor:
    """Return the mean cross-entropy over annotated words; 0, not NaN, if there are none."""
    total = nn.functional.cross_entropy(logits.flatten(0, 1), gold_BW.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (gold_BW != IGNORED).sum().clamp(min=1)
