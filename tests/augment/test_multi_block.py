"""Target blocks are blocks, contexts never read them, and neither has a favourite place."""

import functools

import jax
import numpy as np
import pytest

from ssljax.augment.multi_block import block_shapes, context_patches, target_blocks
from ssljax.core.errors import ConfigError

GRID, PAPER = 8, {"scale": (0.15, 0.2), "aspect": (0.75, 1.5)}


@functools.cache
def drawn(count: int = 19, draws: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    shapes = block_shapes(GRID, **PAPER)

    def one(key):
        k_targets, k_context = jax.random.split(key)
        targets = target_blocks(k_targets, GRID, shapes, blocks=4)
        return targets, context_patches(k_context, GRID, targets, scale=(0.85, 1.0), count=count)

    targets, context = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), draws))
    return np.asarray(targets), np.asarray(context)


@pytest.mark.parametrize(("grid", "expected"), [
    (8, {(3, 4), (4, 3)}), (14, {(5, 6), (6, 5)}), (16, {(6, 7), (7, 6)}), (7, {(3, 3)})])
def test_shapes_of_a_block_have_one_area_within_the_papers_range(grid, expected):
    assert set(block_shapes(grid, **PAPER)) == expected


def test_a_range_without_whole_blocks_is_refused():
    with pytest.raises(ConfigError, match="fit no block of whole patches on a grid of 4 x 4"):
        block_shapes(4, **PAPER)


def test_targets_are_full_rectangles_of_both_shapes():
    targets, _ = drawn()
    assert targets.shape == (3000, 4, 12)
    rows, columns = np.divmod(targets, GRID)
    heights, widths = np.ptp(rows, axis=-1) + 1, np.ptp(columns, axis=-1) + 1
    assert set(zip(heights.ravel(), widths.ravel(), strict=True)) == {(3, 4), (4, 3)}
    assert np.mean(heights == 3) == pytest.approx(0.5, abs=0.03)
    # As many different patches as the rectangle has: it is full.
    assert all(len(set(block)) == 12 for block in targets.reshape(-1, 12)[:500])


def test_places_of_targets_are_uniform():
    targets, _ = drawn()
    corners = targets[..., 0][np.ptp(targets // GRID, axis=-1) == 2]       # of 3 x 4: 6 x 5 places
    rate = np.bincount(corners, minlength=GRID**2).reshape(GRID, GRID) / len(corners)
    assert np.all(rate[6:] == 0)
    assert np.all(rate[:, 5:] == 0)
    error = np.sqrt(1 / 30 / len(corners))
    assert np.abs(rate[:6, :5] - 1 / 30).max() < 5 * error


def test_no_patch_is_context_and_target():
    targets, context = drawn()
    assert context.shape == (3000, 19)
    for blocks, patches in zip(targets, context, strict=True):
        assert not set(patches) & set(blocks.ravel())


def test_context_is_no_raster_prefix():
    """Top and bottom rows are read alike; cutting lists to the first k would empty the bottom."""
    _, context = drawn()
    rate = np.bincount(context.ravel() // GRID, minlength=GRID) / context.size
    np.testing.assert_allclose(rate, rate[::-1], atol=0.012)
    order = np.diff(context.astype(int), axis=1)
    assert np.mean(order > 0) == pytest.approx(0.5, abs=0.02)


def test_a_context_repeats_patches_only_where_the_image_has_no_more():
    targets, context = drawn()
    for blocks, patches in zip(targets, context, strict=True):
        left = GRID**2 - len(set(blocks.ravel()))
        assert len(set(patches)) == min(19, left)
    targets, context = drawn(count=60, draws=20)
    for blocks, patches in zip(targets, context, strict=True):
        assert set(patches) == set(range(GRID**2)) - set(blocks.ravel())
