"""Masks of blocks: an exact number of patches, in pieces rather than scattered."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.augment.block_mask import block_mask, first_patches, inverse_block_mask
from ssljax.augment.patch_mask import random_mask

GRID, DRAWS = 14, 200
KEYS = jax.random.split(jax.random.key(0), DRAWS)


@jax.jit
def blocks(counts):
    return jax.vmap(lambda k, n: block_mask(k, GRID, count=n))(KEYS, counts)


@functools.cache
def inverse(count):
    return np.asarray(jax.jit(jax.vmap(
        lambda k: inverse_block_mask(k, GRID, count=count)))(KEYS))


def same(count):
    """Return masks that all hide `count` patches."""
    return np.asarray(blocks(jnp.full(DRAWS, count)))


@functools.cache
def scattered(count):
    return np.asarray(jax.jit(jax.vmap(lambda k: random_mask(k, GRID**2, count=count)))(KEYS))


def borders(masks: np.ndarray) -> float:
    """Return the mean number of neighbours that differ: how scattered masks are."""
    maps = masks.reshape(-1, GRID, GRID).astype(int)
    return float(np.mean([np.abs(np.diff(maps, axis=a)).sum((1, 2)) for a in (1, 2)]))


@pytest.mark.parametrize("count", [0, 1, 20, 78, 118, 195])
def test_exactly_so_many_patches_are_hidden(count):
    masks = same(count)
    assert masks.shape == (DRAWS, GRID**2) and masks.dtype == bool
    assert set(masks.sum(1)) == {count}


def test_the_count_may_differ_by_example():
    counts = jnp.arange(DRAWS) % 90
    np.testing.assert_array_equal(blocks(counts).sum(1), counts)


@pytest.mark.parametrize("count", [100, 157])
def test_exactly_so_many_are_hidden_around_visible_blocks(count):
    assert set(inverse(count).sum(1)) == {count}


def test_what_is_hidden_or_visible_hangs_together():
    assert borders(same(78)) < borders(scattered(78)) / 2
    assert borders(inverse(157)) < borders(scattered(157)) * 0.6


def test_one_block_that_suffices_is_hidden_whole_and_lies_anywhere():
    sides = jnp.array([[3.0, 5.0]])
    masks = np.asarray(jax.jit(jax.vmap(lambda k: first_patches(k, GRID, sides, 15)))(KEYS))
    corners = set()
    for mask in masks.reshape(-1, GRID, GRID):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert (len(rows), len(columns)) == (3, 5) and mask[np.ix_(rows, columns)].all()
        corners.add((rows[0], columns[0]))
    assert {r for r, _ in corners} == set(range(12)) and {c for _, c in corners} == set(range(10))


def test_a_block_is_cut_to_one_piece_and_the_rest_is_filled_at_random():
    first = jax.jit(lambda sides, count: first_patches(KEYS[0], GRID, sides, count))
    whole, cut = (np.asarray(first(jnp.array([[6.0, 6.0]]), n)) for n in (36, 9))
    assert cut.sum() == 9 and (whole & cut).sum() == 9
    assert borders(cut) <= 16                       # of nine alone in the open: 36
    assert first(jnp.array([[2.0, 2.0]]), 50).sum() == 50


def test_every_patch_is_hidden_sometimes():
    """Corners seldom: few places of a block cover them. BEiT's loop gives 0.05 to 0.70 here."""
    share = same(78).mean(0)
    assert share.min() > 0
    assert share.max() < 0.8
