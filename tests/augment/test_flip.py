"""Mirroring from left to right."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.augment.flip import random_flip

IMAGE = np.random.default_rng(0).random((3, 5, 2)).astype(np.float32)


def test_mirrors_columns_always_or_never():
    key, image = jax.random.key(0), jnp.asarray(IMAGE)
    np.testing.assert_array_equal(random_flip(key, image, probability=1.0), IMAGE[:, ::-1])
    np.testing.assert_array_equal(random_flip(key, image, probability=0.0), IMAGE)


def test_mirrors_about_half():
    keys = jax.random.split(jax.random.key(0), 400)
    flipped = jax.vmap(lambda k: random_flip(k, jnp.asarray(IMAGE)))(keys)[:, 0, 0, 0]
    assert set(np.unique(flipped)) == {IMAGE[0, 0, 0], IMAGE[0, -1, 0]}
    assert 150 < np.sum(flipped == IMAGE[0, 0, 0]) < 250
