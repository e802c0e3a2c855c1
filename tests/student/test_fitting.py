"""Test the closed-form fits and the projections from which narrower students are made."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bistil_ds.errors import InputError
from bistil_ds.student import load_projections, save_projections
from bistil_ds.student.fitting import fit_norm, narrow, ridge, second_moment
from bistil_ds.student.projections import FILE, fit_projections


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def states(generator, count=3, tokens=500, width=12):
    """Return states that change slowly, with a large common mean and a dominant dimension, like layer-normed ones."""
    state = torch.randn(tokens, width, generator=generator) * torch.linspace(0.2, 2, width) + 1.5
    state[:, 3] *= 10
    mix = 0.1 * torch.randn(width, width, generator=generator)
    return [state @ torch.matrix_exp(i * mix) for i in range(count)]


def reconstruction_error(state, projection):
    return float((state - state @ projection @ projection.T).square().mean())


def test_projections_reconstruct_each_state_as_well_as_its_truncated_svd(generator):
    for state, projection in zip(states(generator), fit_projections(states(generator.manual_seed(0)), 5)):
        singular_values = torch.linalg.svdvals(state)
        best = float(singular_values[5:].square().sum() / state.numel())
        assert reconstruction_error(state, projection) == pytest.approx(best, rel=1e-3)
        torch.testing.assert_close(projection.T @ projection, torch.eye(5), atol=1e-5, rtol=0)
        assert projection.dtype == torch.float32


def test_not_centring_reconstructs_better_than_centring_when_there_is_no_bias(generator):
    state = states(generator, count=1)[0]
    centred_basis = torch.linalg.svd(state - state.mean(0))[2][:3].T
    assert reconstruction_error(state, fit_projections([state], 3)[0]) < reconstruction_error(state, centred_basis)


def test_consecutive_projections_are_turned_towards_each_other(generator):
    first, second = states(generator, count=2)
    bases = fit_projections([first, second], 5)
    alone = fit_projections([second], 5)[0]
    turned = float((first @ bases[0] - second @ bases[1]).square().mean())
    assert turned < 0.2 * float((first @ bases[0] - second @ alone).square().mean())


def test_projected_states_vary_the_least_in_the_mean_over_their_dimensions(generator):
    state = states(generator, count=1)[0]
    projected = state @ fit_projections([state], 5)[0]
    along_mean = projected.sum(1) / 5**0.5
    least = float(torch.linalg.eigvalsh(torch.cov(projected.T))[0])
    assert float(along_mean.var()) == pytest.approx(least, rel=1e-3)


def test_saved_projections_come_back_in_order(tmp_path, generator):
    projections = [torch.randn(4, 2, generator=generator) for _ in range(12)]
    save_projections(tmp_path, projections)
    assert all(torch.equal(a, b) for a, b in zip(load_projections(tmp_path), projections, strict=True))


def test_a_folder_without_projections_has_none_and_a_broken_file_is_refused_by_name(tmp_path):
    assert load_projections(tmp_path) is None
    (tmp_path / FILE).write_bytes(b"not safetensors")
    with pytest.raises(InputError, match=FILE):
        load_projections(tmp_path)


def test_ridge_finds_the_map_behind_plenty_of_data(generator):
    inputs = torch.randn(20_000, 4, generator=generator) + 3
    weight, bias = torch.randn(4, 3, generator=generator), torch.randn(3, generator=generator)
    found_weight, found_bias = ridge(inputs, inputs @ weight + bias, torch.zeros(4, 3))
    torch.testing.assert_close(found_weight, weight, atol=0.01, rtol=0)
    torch.testing.assert_close(found_bias, bias, atol=0.05, rtol=0)


def test_ridge_keeps_the_prior_where_the_data_says_nothing(generator):
    inputs = torch.randn(1000, 3, generator=generator)
    inputs[:, 2] = 0
    prior = torch.randn(3, 2, generator=generator)
    weight, bias = ridge(inputs, torch.randn(1000, 2, generator=generator), prior)
    torch.testing.assert_close(weight[2], prior[2])
    assert not torch.allclose(weight[:2], prior[:2], atol=0.1)
    assert torch.isfinite(bias).all()


def test_ridge_survives_constant_inputs():
    weight, bias = ridge(torch.ones(5, 2), torch.full((5, 1), 7.0), torch.zeros(2, 1))
    torch.testing.assert_close(torch.ones(1, 2) @ weight + bias, torch.tensor([[7.0]]))


def test_fitted_norms_recover_the_weight_and_bias_that_made_the_targets(generator):
    inputs = torch.randn(200, 6, generator=generator)
    weight, bias = torch.randn(6, generator=generator), torch.randn(6, generator=generator)
    found = fit_norm(inputs, F.layer_norm(inputs, (6,), weight, bias, 1e-5), 1e-5)
    torch.testing.assert_close(found, (weight, bias), atol=1e-4, rtol=1e-4)


def test_narrowed_products_have_the_smallest_error_of_their_rank(generator):
    left = torch.randn(400, 2, 6, generator=generator, dtype=torch.float64) @ torch.randn(
        2, 6, 6, generator=generator, dtype=torch.float64
    ).sum(0)
    right = torch.randn(300, 2, 6, generator=generator, dtype=torch.float64)
    left_map, right_map = narrow(second_moment(left), second_moment(right), 3)
    for head in range(2):
        products = left[:, head] @ right[:, head].T
        narrowed = (left[:, head] @ left_map[head].double()) @ (right[:, head] @ right_map[head].double()).T
        best = float(torch.linalg.svdvals(products)[3:].norm())
        assert float((products - narrowed).norm()) == pytest.approx(best, rel=1e-4)


def test_narrowing_vectors_of_lower_rank_is_exact_and_finite(generator):
    left = torch.zeros(50, 1, 4)
    left[..., 0] = torch.randn(50, 1, generator=generator)
    right = torch.randn(50, 1, 4, generator=generator)
    left_map, right_map = narrow(second_moment(left), second_moment(right), 2)
    narrowed = (left[:, 0] @ left_map[0]) @ (right[:, 0] @ right_map[0]).T
    torch.testing.assert_close(narrowed, left[:, 0] @ right[:, 0].T, atol=1e-4, rtol=1e-4)
