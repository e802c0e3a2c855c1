"""Test that what is recorded of a family is so in its models."""

from __future__ import annotations

import pytest
import torch
import transformers
from packaging.version import Version
from student_models import KINDS, tiny_batches, tiny_teacher
from transformers import CONFIG_MAPPING, AutoModel

from bistil_ds.errors import InputError
from bistil_ds.models.families import FAMILIES, VOCABULARY_NAME, family_of, is_norm, layers_of


def test_the_encoders_that_people_use_are_there() -> None:
    bert_like = {"bert", "roberta", "xlm-roberta", "xlm-roberta-xl"}
    assert {*bert_like, "modernbert", "eurobert", "gte", "jina_embeddings_v3", "deberta-v2"} <= set(KINDS)
    installed = Version(transformers.__version__)
    assert all((kind in CONFIG_MAPPING) == (Version(family.since) <= installed) for kind, family in FAMILIES.items())


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_is_that_of_a_part(kind: str) -> None:
    model, family = tiny_teacher(kind, layers=2), FAMILIES[kind]
    assert family_of(model) is family
    assert len(layers_of(model)) == 2
    assert model.base_model_prefix == family.encoder
    head = family.head
    assert head is not None
    assert model.get_submodule(head.decoder) is model.get_output_embeddings()
    model.get_submodule(head.first)
    if head.dense:
        model.get_submodule(head.dense)
    if head.bias:
        model.get_parameter(head.bias)
    layer = layers_of(model)[1]
    for name in family.query_key:
        layer.get_submodule(name)
    norms = [model.get_submodule(head.norm)] if head.norm else []
    if family.pre_norm:
        norms += [layer.get_submodule(family.norm_before_attention), model.base_model.get_submodule(family.final_norm)]
    assert all(is_norm(norm) for norm in norms)
    if family.bert_layers:
        for table in family.embedding_tables:
            model.get_parameter(table)
        names = family.layer(1)
        for linear in (names.query, names.key, names.value, names.attention_output, names.inner, names.output):
            model.get_submodule(linear)


@pytest.mark.parametrize("kind", KINDS)
def test_a_base_model_has_the_same_names_without_the_encoders(kind: str) -> None:
    model = tiny_teacher(kind, layers=2, auto=AutoModel)
    family = family_of(model)
    assert (family.encoder, family.head) == ("", None)
    assert len(layers_of(model)) == 2
    assert family.layers in dict(model.named_modules())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_with_a_row_for_each_token_are_known_by_name(kind: str, tied: bool) -> None:
    model = tiny_teacher(kind, layers=1, tie_word_embeddings=tied)
    of_vocabulary = {name for name, p in model.state_dict().items() if p.shape[0] == model.config.vocab_size}
    assert of_vocabulary == {name for name in model.state_dict() if VOCABULARY_NAME.search(name)}


@pytest.mark.parametrize("kind", KINDS)
def test_norms_come_before_the_sub_layers_as_recorded(kind: str) -> None:
    """In a pre-norm layer, what attention reads is the norm's output; else it is the layer's own input."""
    family, model = FAMILIES[kind], tiny_teacher(kind, layers=2)
    layer, seen = layers_of(model)[1], {}
    layer.register_forward_pre_hook(lambda _, args, kwargs: seen.update(layer=args[0]), with_kwargs=True)
    layer.get_submodule(family.query_key[0]).register_forward_pre_hook(lambda _, args: seen.update(read=args[0]))
    model(**next(tiny_batches(0, 1)))
    assert torch.equal(seen["read"], seen["layer"]) != family.pre_norm


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_state_of_a_pre_norm_model_is_that_behind_the_final_norm(kind: str) -> None:
    model, seen = tiny_teacher(kind, layers=2), []
    layers_of(model)[-1].register_forward_hook(lambda *call: seen.append(call[-1]))
    states = model(**next(tiny_batches(0, 1)), output_hidden_states=True).hidden_states
    after = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    assert len(states) == 3
    assert torch.equal(states[-1], after) != FAMILIES[kind].pre_norm


def test_decoders_are_refused() -> None:
    with pytest.raises(InputError, match="makes the bert model a decoder"):
        family_of(tiny_teacher("bert", layers=1, is_decoder=True))
