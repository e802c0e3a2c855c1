"""Test which teacher layers a student starts from."""

from __future__ import annotations

import re

import pytest
from student_models import KINDS, PUBLISHED_MAP, tiny_config

from bistil_ds.errors import InputError
from bistil_ds.student.layer_map import choose_layers, even_map


@pytest.mark.parametrize("kind", PUBLISHED_MAP)
@pytest.mark.parametrize("depth", [6, 12, 24, 36])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_where_k_divides_the_depth_the_map_is_the_published_one(kind: str, depth: int, factor: int) -> None:
    published = [(i + 1) * factor - 1 for i in range(depth // factor)]
    assert choose_layers(tiny_config(kind, depth), factor) == published


@pytest.mark.parametrize(
    ("depth", "factor", "expected"),
    [(22, 3, [2, 5, 8, 12, 15, 18, 21]), (5, 2, [1, 2, 4]), (28, 3, [2, 5, 8, 11, 15, 18, 21, 24, 27]), (6, 4, [2, 5])],
)
def test_otherwise_the_layers_are_spread_evenly_and_end_at_the_last(
    depth: int, factor: int, expected: list[int]
) -> None:
    assert choose_layers(tiny_config("bert", depth), factor) == expected


@pytest.mark.parametrize(
    ("factor", "expected"), [(2, [0, 2, 4, 6, 8, 11, 13, 15, 17, 19, 21]), (3, [0, 4, 7, 11, 14, 18, 21])]
)
def test_modernbert_keeps_its_first_layer_its_last_and_global_ones(factor: int, expected: list[int]) -> None:
    config = tiny_config("modernbert", 22)  # the depth of the published models
    assert choose_layers(config, factor) == expected
    kinds = [config.layer_types[layer] for layer in expected]
    assert kinds[0] == "full_attention"
    assert set(kinds) == {"full_attention", "sliding_attention"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_even_map_of_any_length_ascends_and_ends_at_the_last_layer(kind: str) -> None:
    config = tiny_config(kind, 13)
    for layers in range(1, 14):
        found = even_map(config, layers)
        assert found == sorted(set(found))
        assert found[-1] == 12
        assert len(found) == (max(layers, 2) if kind == "modernbert" else layers)


@pytest.mark.parametrize(
    ("kind", "layers", "says"),
    [
        ("modernbert", [1, 5], "layer map [1, 5] lacks layer 0, from which alone"),
        ("modernbert", [0, 4], "lacks the last layer, 5"),
        ("eurobert", [1, 4], "lacks the last layer, 5"),
        ("xlm-roberta-xl", [1, 4], "lacks the last layer, 5"),
    ],
)
def test_a_map_without_a_layer_that_the_family_needs_is_refused(kind: str, layers: list[int], says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        choose_layers(tiny_config(kind), layer_map=layers)


def test_a_factor_has_no_effect_beside_a_map_and_is_refused_there() -> None:
    config = tiny_config("bert", 6)
    assert choose_layers(config, 2, [0, 5]) == [0, 5]  # 2 is the default
    with pytest.raises(InputError, match="layer_reduction_factor 3: has no effect beside a layer map"):
        choose_layers(config, 3, [0, 5])


@pytest.mark.parametrize(
    ("depth", "factor", "expected"),
    [(12, 2, [0, 2, 4, 7, 9, 11]), (12, 3, [0, 4, 7, 11]), (6, 2, [0, 3, 5]), (6, 6, [0, 5])],
)
def test_the_first_layer_is_kept_where_that_is_asked_for(depth: int, factor: int, expected: list[int]) -> None:
    config = tiny_config("bert", depth)
    assert choose_layers(config, factor, keep_first=True) == expected
    with pytest.raises(InputError, match="keep_first: has no effect beside a layer map"):
        choose_layers(config, layer_map=expected, keep_first=True)


def test_a_map_of_sliding_layers_alone_is_refused() -> None:
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    config = tiny_config("modernbert", 3, layer_types=kinds)
    with pytest.raises(
        InputError, match=re.escape("layer map [0, 2] has only layers of a sliding window: add one of [1]")
    ):
        choose_layers(config, layer_map=[0, 2])
