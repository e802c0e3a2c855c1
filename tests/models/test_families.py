"""Test that what is recorded of a family is so in its models."""

from __future__ import annotations

import pytest
from student_models import KINDS, POST_NORM, tiny_teacher

from bistil_ds.models.families import FAMILIES, family_of, is_norm, layers_of


def test_the_first_families_are_there() -> None:
    assert {"bert", "roberta", "xlm-roberta", "xlm-roberta-xl"} <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_is_that_of_a_part(kind: str) -> None:
    model, family = tiny_teacher(kind, layers=2), FAMILIES[kind]
    assert family_of(model) is family
    assert len(layers_of(model)) == 2
    assert model.base_model_prefix == family.encoder
    assert model.get_submodule(family.decoder) is model.get_output_embeddings()
    model.get_submodule(family.head_dense)
    for parameter in (family.decoder_bias, *family.embedding_tables):
        model.get_parameter(parameter)
    layer = family.layer(1)
    norms = [family.head_norm]
    if family.pre_norm:
        norms += [f"{family.layers}.1.{family.norm_before_attention}", f"{family.encoder}.{family.final_norm}"]
    else:
        norms += [family.embedding_norm, layer.attention_norm, layer.norm]
        for linear in (layer.query, layer.key, layer.value, layer.attention_output, layer.inner, layer.output):
            model.get_submodule(linear)
    assert all(is_norm(model.get_submodule(name)) for name in norms)


@pytest.mark.parametrize("kind", KINDS)
def test_norms_come_before_the_sub_layers_as_recorded(kind: str) -> None:
    family = FAMILIES[kind]
    layer = layers_of(tiny_teacher(kind, layers=1))[0]
    norms = [name for name, module in layer.named_modules() if is_norm(module)]
    assert (family.norm_before_attention in norms) == (kind not in POST_NORM)
