"""I-JEPA's predictor: places matter, blocks are alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.models import vit_predictor

RNG = np.random.default_rng(0)
SEQUENCE = RNG.normal(size=(2, 4, 12)).astype(np.float32)
VISIBLE = np.array([[1, 5, 6, 12], [0, 3, 8, 15]])
TARGETS = np.array([[[2, 3], [9, 10]], [[4, 5], [6, 7]]])
MODEL = vit_predictor.make(**vit_predictor.TINY)


@functools.cache
def weights():
    return jax.jit(MODEL.init)(jax.random.key(0), inputs())[0]


def inputs(sequence=SEQUENCE, visible=VISIBLE, targets=TARGETS):
    return {"sequence": jnp.asarray(sequence), "visible": jnp.asarray(visible),
            "targets": jnp.asarray(targets)}


@jax.jit
def predict(given):
    return MODEL.apply(weights(), given)["predictions"]


def test_predictions_have_the_encoders_width_and_do_not_depend_on_the_order_of_the_context():
    found = predict(inputs())
    assert found.shape == (2, 2, 2, 12)
    turned = predict(inputs(SEQUENCE[:, ::-1], VISIBLE[:, ::-1]))
    np.testing.assert_allclose(turned, found, atol=1e-5)
    assert np.abs(predict(inputs(SEQUENCE[:, ::-1])) - found).max() > 1e-3


def test_a_block_does_not_see_another():
    found = predict(inputs())
    other = TARGETS.copy()
    other[:, 1] = [[0, 14], [1, 2]]
    changed = predict(inputs(targets=other))
    np.testing.assert_allclose(changed[:, 0], found[:, 0], atol=1e-6)
    assert np.abs(changed[:, 1] - found[:, 1]).max() > 1e-3
    swapped = predict(inputs(targets=TARGETS[:, ::-1]))
    np.testing.assert_allclose(swapped, found[:, ::-1], atol=1e-5)


def test_width_must_divide_over_the_heads():
    with pytest.raises(ConfigError, match="width 16 is not a multiple of its 3 heads"):
        vit_predictor.make(**{**vit_predictor.TINY, "num_heads": 3})
