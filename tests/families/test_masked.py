"""What methods that predict hidden patches share: the split, the targets and the masked sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.families import masked

RNG = np.random.default_rng(0)
HIDDEN = np.stack([RNG.permutation(16) < 12 for _ in range(2)])


def test_predictions_of_visible_patches_have_no_gradient():
    predictions, targets = jnp.asarray(RNG.random((2, 2, 16, 4)))
    scored = jnp.asarray(HIDDEN)
    grad = jax.grad(masked.masked_error)(predictions, targets, scored)
    assert np.all(grad[~scored] == 0)
    np.testing.assert_allclose(grad[scored], 2 / 4 * (predictions - targets)[scored], rtol=1e-5)


def test_splits_patches_into_visible_and_scored():
    hidden = jnp.array([True, False, True, False, False, True])
    visible, scored = masked.split_patches(hidden, 3)
    assert visible.tolist() == [1, 3, 4]
    assert scored.tolist() == hidden.tolist()


def test_a_hidden_patch_that_had_to_be_encoded_is_not_scored():
    hidden = jnp.array([True, False, True, False, True, True])
    visible, scored = masked.split_patches(hidden, 3)
    assert visible.tolist() == [1, 3, 0]
    assert np.flatnonzero(scored).tolist() == [2, 4, 5]


def test_normalised_patches_have_zero_mean_and_unit_variance():
    patches = masked.normalise_patches(jnp.asarray(RNG.random((5, 16)) * 9 + 3))
    np.testing.assert_allclose(patches.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(patches.var(axis=1, ddof=1), 1, atol=1e-4)
    assert np.all(masked.normalise_patches(jnp.ones((1, 4))) == 0)


def test_masked_error_equals_the_loop_over_scored_patches():
    predictions, targets = RNG.normal(size=(2, 2, 16, 4))
    expected = sum(np.mean((predictions[i, n] - targets[i, n]) ** 2)
                   for i, n in zip(*np.nonzero(HIDDEN), strict=True))
    with jax.enable_x64(True):
        found = masked.masked_sum((jnp.asarray(predictions) - targets) ** 2, jnp.asarray(HIDDEN))
        assert float(found) == pytest.approx(expected, rel=1e-12)
    found = masked.masked_error(jnp.asarray(predictions), jnp.asarray(targets), jnp.asarray(HIDDEN))
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_predictions_see_what_is_not_scored():
    seen = np.asarray(masked.seen_alike(jnp.asarray(HIDDEN)))
    assert seen.shape == (2, 16, 16)
    for i in range(2):
        assert np.array_equal(seen[i], np.tile(~HIDDEN[i], (16, 1)))


def test_a_mask_of_other_patches_is_refused():
    batch = {"image": jnp.zeros((3, 8, 8, 1)), "hidden": jnp.zeros((3, 4), bool)}
    with pytest.raises(ConfigError, match=r"simmim .* hidden of shape \(3, 16\) but got \(3, 4\)"):
        masked.patch_count(batch, 2, "simmim")
