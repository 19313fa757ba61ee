"""Bright values inverted."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageOps

from ssljax.augment.solarise import random_solarise, solarise

LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16)


def test_equals_pillow_at_every_level():
    expected = np.asarray(ImageOps.solarize(Image.fromarray(LEVELS), threshold=128))
    made = solarise(jnp.asarray(LEVELS[..., None], jnp.float32) / 255)
    np.testing.assert_allclose(made[..., 0] * 255, expected, atol=1e-4)


def test_happens_about_as_often_as_asked():
    image = jnp.ones((1, 1, 1))
    keys = jax.random.split(jax.random.key(0), 500)
    black = jax.vmap(lambda k: random_solarise(k, image, probability=0.2))(keys) == 0
    assert 70 < black.sum() < 130
