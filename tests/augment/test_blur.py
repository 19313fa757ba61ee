"""Gaussian blur against a loop over pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage

from ssljax.augment.blur import gaussian_blur, random_blur

IMAGE = np.random.default_rng(0).random((6, 9, 2)).astype(np.float32)


def reference(sigma: float, radius: int) -> np.ndarray:
    out = np.zeros(IMAGE.shape)
    for i, j in np.ndindex(6, 9):
        weights = 0.0
        for y in range(max(0, i - radius), min(6, i + radius + 1)):
            for x in range(max(0, j - radius), min(9, j + radius + 1)):
                weight = np.exp(-((y - i) ** 2 + (x - j) ** 2) / (2 * sigma**2))
                out[i, j] += weight * IMAGE[y, x]
                weights += weight
        out[i, j] /= weights
    return out


def test_equals_the_loop():
    for sigma, radius in ((0.7, 1), (1.5, 3)):
        np.testing.assert_allclose(gaussian_blur(jnp.asarray(IMAGE), sigma, radius=radius),
                                   reference(sigma, radius), atol=1e-5)


def test_equals_scipy_where_the_border_is_far():
    image = np.random.default_rng(1).random((40, 31, 1)).astype(np.float32)
    expected = scipy.ndimage.gaussian_filter(image[..., 0].astype(np.float64), 1.3, radius=4)
    blurred = gaussian_blur(jnp.asarray(image), 1.3, radius=4)[..., 0]
    np.testing.assert_allclose(blurred[4:-4, 4:-4], expected[4:-4, 4:-4], atol=1e-6)


def test_a_flat_image_stays_flat_up_to_the_border():
    flat = jnp.full((5, 5, 1), 0.3)
    np.testing.assert_allclose(gaussian_blur(flat, 2.0, radius=2), flat, rtol=1e-6)


def test_probability_zero_changes_nothing_and_one_smooths():
    image = jnp.asarray(IMAGE)
    np.testing.assert_array_equal(random_blur(jax.random.key(0), image, probability=0.0), IMAGE)
    blurred = random_blur(jax.random.key(0), image, probability=1.0, min_sigma=1.0)
    assert np.std(blurred) < 0.8 * np.std(IMAGE)
