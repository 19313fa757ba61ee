"""Oriented gradients against a loop over pixels, and what they do not see."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.families.hog import BINS, histograms, patch_histograms

RNG = np.random.default_rng(0)
IMAGE = RNG.random((8, 12, 2))


def reference(image: np.ndarray, cell: int) -> np.ndarray:
    """Return [H / cell, W / cell, C, 9], pixel by pixel in float64."""
    height, width, channels = image.shape
    found = np.zeros((height // cell, width // cell, channels, 9))
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                down = image[min(y + 1, height - 1), x, c] - image[max(y - 1, 0), x, c]
                right = image[y, min(x + 1, width - 1), c] - image[y, max(x - 1, 0), c]
                degrees = math.degrees(math.atan2(down, right)) % 180
                place = degrees / 20 - 0.5
                low, share = math.floor(place), place - math.floor(place)
                votes = found[y // cell, x // cell, c]
                votes[low % 9] += (1 - share) * math.hypot(down, right)
                votes[(low + 1) % 9] += share * math.hypot(down, right)
    return found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-6)


def test_histograms_equal_the_loop():
    found = jax.jit(lambda x: histograms(x, 4))(jnp.asarray(IMAGE, jnp.float32))
    assert found.shape == (2, 3, 2, BINS)
    np.testing.assert_allclose(found, reference(IMAGE, 4), rtol=1e-4, atol=1e-5)


def test_a_patch_holds_its_cells_row_by_row():
    images = jnp.asarray(RNG.random((2, 8, 8, 3)), jnp.float32)
    found = patch_histograms(images, patch_size=4, cell_size=2)
    assert found.shape == (2, 4, 4 * 3 * BINS)
    cells = reference(np.asarray(images[1], np.float64), 2)
    expected = np.concatenate([cells[row, column].ravel() for row in (2, 3) for column in (0, 1)])
    np.testing.assert_allclose(found[1, 2], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("turn", range(9))
def test_a_slope_votes_for_its_own_orientation(turn):
    angle = math.radians(20 * turn + 10)                     # the centre of a bin
    y, x = np.mgrid[:8, :8]
    slope = (np.cos(angle) * x + np.sin(angle) * y)[..., None]
    inner = histograms(jnp.asarray(slope, jnp.float32), 2)[1:3, 1:3, 0]     # no edge is repeated
    np.testing.assert_allclose(inner, np.broadcast_to(np.eye(9)[turn], inner.shape), atol=1e-4)


def test_brightness_contrast_and_sign_do_not_matter():
    image = jnp.asarray(IMAGE, jnp.float32)
    plain = histograms(image, 4)
    for other in (image + 3, image * 0.1, -image):
        np.testing.assert_allclose(histograms(other, 4), plain, atol=2e-5)


def test_a_flat_cell_has_no_edges():
    assert np.all(histograms(jnp.ones((4, 4, 1)), 4) == 0)
