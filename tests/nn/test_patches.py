"""Images to patches, and where patches are."""

import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.nn.patches import patch_grid, patchify, rope_places, sincos_table, unpatchify


def test_patches_are_row_major_with_channels_last():
    image = np.arange(2 * 6 * 4 * 3, dtype=np.float32).reshape(2, 6, 4, 3)
    patches = patchify(jnp.asarray(image), 2)
    assert patches.shape == (2, 6, 12)
    for row in range(3):
        for column in range(2):
            square = image[:, 2 * row:2 * row + 2, 2 * column:2 * column + 2]
            np.testing.assert_array_equal(patches[:, 2 * row + column], square.reshape(2, 12))


def test_patches_put_together_are_the_image():
    image = np.random.default_rng(0).normal(size=(2, 6, 4, 3)).astype(np.float32)
    patches = patchify(jnp.asarray(image), 2)
    np.testing.assert_array_equal(unpatchify(patches, image.shape, 2), image)


def test_patches_must_tile_the_image():
    with pytest.raises(ConfigError, match="image_size 9 is not a multiple of patch_size 2"):
        patch_grid(9, 2)


def test_positions_are_sines_and_cosines_of_row_and_column():
    table = sincos_table(3, 8)
    for patch in range(9):
        row, column = divmod(patch, 3)
        expected = [f(place / wave) for place in (row, column) for f in (np.sin, np.cos)
                    for wave in (1, 100)]
        np.testing.assert_allclose(table[patch], expected, atol=1e-6)


def test_positions_are_all_different():
    table = sincos_table(7, 16)
    distance = np.linalg.norm(table[:, None] - table, axis=-1)
    assert distance[~np.eye(49, dtype=bool)].min() > 0.1


def test_positions_need_a_width_that_divides_by_four():
    with pytest.raises(ConfigError, match="width 6 is not a multiple of 4"):
        sincos_table(2, 6)


def test_positions_of_another_grid_lie_between_the_native_ones():
    """Four patches that span eight: each at the mean of the two it covers, cosines to follow."""
    frequency = 100.0 ** -np.arange(2)
    angle = (2 * np.arange(4)[:, None] + 0.5) * frequency
    table = sincos_table((4, 1), 8, native=8)
    np.testing.assert_allclose(table[:, :4], np.concatenate([np.sin(angle), np.cos(angle)], 1),
                               atol=1e-6)
    np.testing.assert_array_equal(sincos_table(8, 8, native=8), sincos_table(8, 8))


def test_rotary_places_span_an_image_whatever_its_patches():
    places = rope_places((2, 4)).reshape(2, 4, 2) / (2 * np.pi)
    np.testing.assert_allclose(places[:, 0, 0], [-0.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(places[0, :, 1], [-0.75, -0.25, 0.25, 0.75], rtol=1e-6)
