"""Brightness without colour."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.augment.grayscale import luma, random_grayscale

IMAGE = np.random.default_rng(0).random((3, 5, 3)).astype(np.float32)


def test_luma_weighs_red_green_and_blue():
    expected = 0.299 * IMAGE[..., 0] + 0.587 * IMAGE[..., 1] + 0.114 * IMAGE[..., 2]
    np.testing.assert_allclose(luma(jnp.asarray(IMAGE))[..., 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(luma(jnp.asarray(IMAGE[..., :1])), IMAGE[..., :1])


def test_gray_keeps_three_equal_channels_and_gray_images_stay():
    image = jnp.asarray(IMAGE)
    gray = random_grayscale(jax.random.key(0), image, probability=1.0)
    assert gray.shape == IMAGE.shape
    np.testing.assert_array_equal(gray[..., 0], gray[..., 2])
    same = random_grayscale(jax.random.key(0), image, probability=0.0)
    np.testing.assert_array_equal(same, IMAGE)
    one = image[..., :1]
    np.testing.assert_array_equal(random_grayscale(jax.random.key(0), one, probability=1.0), one)
