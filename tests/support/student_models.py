"""Tiny teachers of each supported kind, and the distances that the tests of students compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForMaskedLM, PretrainedConfig, PreTrainedModel

from bistil_ds.models.families import FAMILIES

VOCABULARY = 61
KINDS = tuple(FAMILIES)  # every test of what depends on the model family runs on each of them
OBSERVABLE = tuple(kind for kind in KINDS if FAMILIES[kind].maps_observable)  # their attention maps can be compared
FROM_LAYER_0 = tuple(kind for kind in KINDS if FAMILIES[kind].first_layer_stays)
PUBLISHED_MAP = tuple(kind for kind in KINDS if kind not in FROM_LAYER_0)  # every k-th layer, as BiStil has it
NARROWABLE = tuple(kind for kind in KINDS if FAMILIES[kind].bert_layers and not FAMILIES[kind].pre_norm)
SPECIAL_IDS = {"pad_token_id": 1, "bos_token_id": 0, "cls_token_id": 0, "eos_token_id": 2, "sep_token_id": 2}


def tiny_config(kind: str, layers: int = 6, **changes: object) -> PretrainedConfig:
    """Return the configuration of a model of width 32 with 4 heads and `VOCABULARY` tokens.

    If the installed transformers is too old for this kind, the test is skipped.
    """
    if kind not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {kind}")
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 40,
        "initializer_range": 0.2,
    }
    if kind not in ("bert", "deberta-v2"):  # the ids of XLM-R; the defaults of some lie outside this vocabulary
        sizes |= SPECIAL_IDS
    if kind == "eurobert":
        sizes["mask_token_id"] = 3
    return AutoConfig.for_model(kind, **{**sizes, **changes})


def tiny_teacher(
    kind: str, layers: int = 6, *, auto: type[Any] = AutoModelForMaskedLM, **changes: object
) -> PreTrainedModel:
    """Return a random teacher of `tiny_config`, whose weights are so large that every sub-layer matters.

    `auto` is the class that makes it: `AutoModel` gives a teacher without a head.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = auto.from_config(tiny_config(kind, layers, **changes))
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:  # biases and layer norms, which would else be 0 and 1
                torch.nn.init.normal_(parameter, mean=1.0 if name.lower().endswith("norm.weight") else 0.0, std=0.2)
    return model.eval()


def tiny_batches(seed: int, batches: int = 24) -> Iterator[dict[str, Tensor]]:
    """Yield batches [4, 12] of random ids with different lengths, padded on the right."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(batches):
        lengths_B = torch.randint(4, 13, (4,), generator=generator)
        mask_BT = (torch.arange(12) < lengths_B[:, None]).long()
        ids_BT = torch.randint(5, VOCABULARY, (4, 12), generator=generator)
        yield {"input_ids": torch.where(mask_BT.bool(), ids_BT, 1), "attention_mask": mask_BT}


@torch.no_grad()
def distances(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    layer_map: Sequence[int],
    projections: Sequence[Tensor],
    batches: Iterator[dict[str, Tensor]],
) -> tuple[list[float], list[float]]:
    """Return the mean squared error of each aligned state and of each attention map, over real tokens."""
    student.set_attn_implementation("eager")
    teacher.set_attn_implementation("eager")
    hidden, maps, count = [0.0] * (len(layer_map) + 1), [0.0] * len(layer_map), 0
    for batch in batches:
        mask_BT = batch["attention_mask"].bool()
        pairs_B1TT = (mask_BT[:, :, None] & mask_BT[:, None, :])[:, None]
        ours = student(**batch, output_hidden_states=True, output_attentions=True)
        theirs = teacher(**batch, output_hidden_states=True, output_attentions=True)
        for i, state in enumerate([0, *(layer + 1 for layer in layer_map)]):
            wanted_BTs = theirs.hidden_states[state] @ projections[i]
            hidden[i] += float((ours.hidden_states[i] - wanted_BTs)[mask_BT].square().mean())
        for i, layer in enumerate(layer_map):
            error_BHTT = (ours.attentions[i] - theirs.attentions[layer]).square()
            maps[i] += float(error_BHTT[pairs_B1TT.expand_as(error_BHTT)].mean())
        count += 1
    return [error / count for error in hidden], [error / count for error in maps]
