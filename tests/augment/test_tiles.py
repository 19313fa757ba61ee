"""Tiles: cut within their cell, by random offsets, standardised."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.augment.tiles import CELLS, check_tiles, cut_tiles, random_grid, standardise_tile
from ssljax.core.errors import ConfigError

RNG = np.random.default_rng(0)


def places(image: np.ndarray, tile: np.ndarray) -> list[tuple[int, int]]:
    """Return where a standardised tile comes from."""
    side = tile.shape[0]
    found = []
    for row in range(image.shape[0] - side + 1):
        for column in range(image.shape[1] - side + 1):
            here = np.asarray(standardise_tile(image[row:row + side, column:column + side]))
            if np.allclose(here, tile, atol=1e-4):
                found.append((row, column))
    return found


def test_every_tile_lies_in_its_cell_and_offsets_differ():
    image = RNG.random((15, 15, 3)).astype(np.float32)
    offsets = set()
    for seed in range(4):
        tiles = cut_tiles(jax.random.key(seed), image, jnp.arange(CELLS), tile_size=3)
        assert tiles.shape == (9, 3, 3, 3)
        for cell, tile in enumerate(np.asarray(tiles)):
            [(row, column)] = places(image, tile)
            inner = row - cell // 3 * 5, column - cell % 3 * 5
            assert 0 <= min(inner) <= max(inner) <= 2
            offsets.add(inner)
    assert len(offsets) == 9                                # all of them occur


def test_a_tile_as_large_as_its_cell_never_moves():
    image = RNG.random((6, 6, 1)).astype(np.float32)
    a, b = (cut_tiles(jax.random.key(k), image, jnp.array([8]), tile_size=2) for k in (0, 1))
    assert np.array_equal(a, b)
    np.testing.assert_allclose(a[0], standardise_tile(image[4:, 4:]), atol=1e-6)


def test_standardised_tiles_do_not_tell_brightness_or_contrast():
    tile = RNG.random((4, 4, 3)).astype(np.float32)
    plain = standardise_tile(jnp.asarray(tile))
    assert float(jnp.mean(plain)) == pytest.approx(0, abs=1e-6)
    assert float(jnp.std(plain)) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(standardise_tile(jnp.asarray(0.3 * tile + 0.2)), plain, atol=1e-4)
    flat = standardise_tile(jnp.full((4, 4, 3), 0.7))
    np.testing.assert_allclose(flat, 0, atol=1e-4)


def test_the_grid_is_a_part_of_the_image_and_sometimes_grey():
    image = jnp.asarray(RNG.random((20, 20, 3)).astype(np.float32))
    whole = random_grid(jax.random.key(0), image, size=20, area=1.0, gray_probability=0.0,
                        method="bilinear")
    np.testing.assert_allclose(whole, image, atol=1e-5)
    gray = random_grid(jax.random.key(0), image, size=20, area=0.5, gray_probability=1.0,
                       method="bilinear")
    assert np.array_equal(gray[..., 0], gray[..., 2])


def test_tiles_that_do_not_fit_are_refused():
    check_tiles(255, 85)
    with pytest.raises(ConfigError, match="cells are 85"):
        check_tiles(255, 86)
