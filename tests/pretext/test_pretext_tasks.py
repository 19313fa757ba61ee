"""Rotations, patch pairs and jigsaw: exact copies, true labels, plain images for evaluation."""

import functools

import jax
import numpy as np
import pytest

from ssljax.augment.permutations import distant_permutations
from ssljax.augment.tiles import standardise_tile
from ssljax.core.errors import ConfigError
from ssljax.core.rng import record_id
from ssljax.pretext import jigsaw, patch_pairs, rotations

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (12, 12, 3)).astype(np.uint8)


@functools.cache
def program(module, **options):
    return jax.jit(module.make(size=12, **options).views)


def test_rotations_are_exact_quarter_turns():
    image = RNG.random((5, 5, 3)).astype(np.float32)
    for turns, copy in enumerate(np.asarray(rotations.rotations(image))):
        assert np.array_equal(copy, np.rot90(image, turns))


def test_the_four_copies_are_turns_of_one_view():
    pretext = rotations.make(size=12, min_area=1.0, flip_probability=0.0)
    rotated = np.asarray(pretext.views(jax.random.key(0), {"image": IMAGE})["rotated"])
    assert rotated.shape == (4, 12, 12, 3)
    for turns in range(4):
        assert np.array_equal(rotated[turns], np.rot90(rotated[0], turns))
    # A crop of the whole area may still have another aspect; its range is the image's.
    assert rotated.min() >= -1
    assert rotated.max() <= 1


def exact(module, seed: int, **options):
    """Return the views where tiles are their cells: nothing but place is random."""
    views = program(module, grid_size=12, tile_size=4, area=1.0, gray_probability=0.0, **options)
    return views(jax.random.key(seed), {"image": IMAGE})


def cell_of(tile) -> int:
    image = IMAGE.astype(np.float32) / 255
    cells = [image[r:r + 4, c:c + 4] for r in (0, 4, 8) for c in (0, 4, 8)]
    [cell] = [i for i, x in enumerate(cells)
              if np.allclose(standardise_tile(x), tile, atol=1e-2)]
    return cell


def test_a_position_says_which_neighbour_the_patch_is():
    seen = set()
    for seed in range(16):
        views = exact(patch_pairs, seed, neighbours=3)
        centre, *others = np.asarray(views["patches"])
        assert cell_of(centre) == 4
        positions = np.asarray(views["position"]).tolist()
        assert [cell_of(x) for x in others] == [p + (p >= 4) for p in positions]
        assert len(set(positions)) == 3
        seen.update(positions)
    assert seen == set(range(8))


def test_jigsaw_gives_tiles_in_place_and_permutations_of_the_table():
    table = distant_permutations(9, 20)
    seen = set()
    for seed in range(6):
        views = exact(jigsaw, seed, permutations=20, shuffles=4)
        assert [cell_of(x) for x in np.asarray(views["tiles"])] == list(range(9))
        classes = np.asarray(views["shuffle"])
        assert np.array_equal(views["order"], table[classes])
        assert len(set(classes.tolist())) == 4
        seen.update(classes.tolist())
    assert len(seen) > 10


@pytest.mark.parametrize("module", [patch_pairs, jigsaw, rotations])
def test_evaluation_sees_the_whole_plain_image(module):
    pretext = module.make(**{**module.TINY, "size": 12, "channels": 3})
    plain = pretext.plain({"image": IMAGE, "id": record_id("test", 0)})
    deviation = 0.5 if module is rotations else 0.25
    np.testing.assert_allclose(plain["image"], (IMAGE / 255 - 0.5) / deviation, atol=1e-5)


def test_impossible_tasks_are_refused():
    with pytest.raises(ConfigError, match="neighbours 9: expected 1 to 8"):
        patch_pairs.make(size=12, tile_size=2, neighbours=9)
    with pytest.raises(ConfigError, match="shuffles 5: expected 1 to the 4"):
        jigsaw.make(size=12, tile_size=2, permutations=4, shuffles=5)
    with pytest.raises(ConfigError, match="tile_size 5 in a grid of 12"):
        jigsaw.make(size=12, tile_size=5)
