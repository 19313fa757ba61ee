"""Rotary positions: only distances matter, along a sequence and along both axes of an image."""

import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.nn.rope import rotate

RNG = np.random.default_rng(0)
Q, K = RNG.normal(size=(2, 2, 6, 3, 8)).astype(np.float32)             # [B, L, H, K]
PLACES = RNG.uniform(-6, 6, size=(2, 6, 2)).astype(np.float32)


def scores(positions, base=100.0):
    q, k = (rotate(jnp.asarray(x), jnp.asarray(positions), base) for x in (Q, K))
    return np.einsum("BQHK,BTHK->BHQT", q, k)


@pytest.mark.parametrize("shift", [(3, 0), (0, -2), (1.5, 0.25)])
def test_axial_scores_do_not_change_when_the_image_moves(shift):
    np.testing.assert_allclose(scores(PLACES + np.float32(shift)), scores(PLACES), atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1])
def test_axial_scores_change_with_either_axis(axis):
    moved = PLACES.copy()
    moved[:, 0, axis] += 1
    assert np.abs(scores(moved) - scores(PLACES))[:, :, 0, 1:].max() > 0.1


def test_axial_rotation_is_the_equation():
    """Pair i of a head turns by the row for i < K/4, else by the column, at base**(-4i/K)."""
    frequency = 100.0 ** (-np.arange(2) / 2)
    angle = np.concatenate([PLACES[..., a, None] * frequency for a in (0, 1)], -1)
    pairs = Q[..., :4] + 1j * Q[..., 4:]
    turned = pairs * np.exp(1j * angle)[:, :, None]
    np.testing.assert_allclose(rotate(jnp.asarray(Q), jnp.asarray(PLACES), 100.0),
                               np.concatenate([turned.real, turned.imag], -1), atol=1e-5)


def test_the_middle_of_an_image_does_not_turn():
    still = rotate(jnp.asarray(Q), jnp.zeros((2, 6, 2)), 100.0)
    np.testing.assert_allclose(still, Q, atol=1e-6)
