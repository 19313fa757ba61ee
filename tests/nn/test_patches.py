"""Images to patches, and where patches are."""

import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.nn.patches import patch_grid, patchify, sincos_table


def test_patches_are_row_major_with_channels_last():
    image = np.arange(2 * 6 * 4 * 3, dtype=np.float32).reshape(2, 6, 4, 3)
    patches = patchify(jnp.asarray(image), 2)
    assert patches.shape == (2, 6, 12)
    for row in range(3):
        for column in range(2):
            square = image[:, 2 * row:2 * row + 2, 2 * column:2 * column + 2]
            np.testing.assert_array_equal(patches[:, 2 * row + column], square.reshape(2, 12))


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
