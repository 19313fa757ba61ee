"""MAE's decoder: tokens go back where they came from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.models import vit_decoder

RNG = np.random.default_rng(0)


def test_unshuffle_undoes_the_choice_of_visible_patches():
    tokens = jnp.asarray(RNG.random((10, 3), np.float32))
    visible = jnp.array([7, 2, 9, 0])
    rows, seen = vit_decoder.unshuffle(tokens[visible], visible, 10)
    np.testing.assert_array_equal(rows[visible], tokens[visible])
    assert np.flatnonzero(seen).tolist() == [0, 2, 7, 9]
    assert np.all(rows[~seen] == 0)


def decoded(sequence, visible):
    model = vit_decoder.make(**vit_decoder.TINY)
    inputs = {"sequence": jnp.asarray(sequence), "visible": jnp.asarray(visible)}
    params, stats = jax.jit(model.init)(jax.random.key(0), inputs)
    assert stats == {}
    return jax.jit(model.apply)(params, inputs)["pixels"]


def test_predicts_every_patch_whatever_the_order_of_tokens():
    sequence = RNG.random((2, 4, 24), np.float32)
    visible = np.array([[1, 5, 6, 12], [0, 3, 8, 15]])
    pixels = decoded(sequence, visible)
    assert pixels.shape == (2, 16, 4)
    np.testing.assert_allclose(decoded(sequence[:, ::-1], visible[:, ::-1]), pixels, atol=1e-5)


def test_a_class_token_is_read_but_has_no_patch():
    sequence = RNG.random((2, 5, 24), np.float32)
    visible = np.array([[1, 5, 6, 12], [0, 3, 8, 15]])
    pixels = decoded(sequence, visible)
    assert pixels.shape == (2, 16, 4)
    sequence[:, 0] = -sequence[:, 0]
    assert np.abs(decoded(sequence, visible) - pixels).max() > 1e-3


def test_width_must_divide_over_the_heads():
    with pytest.raises(ConfigError, match="width 16 is not a multiple of its 3 heads"):
        vit_decoder.make(**{**vit_decoder.TINY, "num_heads": 3})
