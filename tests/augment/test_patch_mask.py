"""Patch masks have an exact count and no favourite patch."""

import jax
import numpy as np
import pytest

from ssljax.augment.patch_mask import hidden_count, random_mask
from ssljax.core.errors import ConfigError


@pytest.mark.parametrize("count", [1, 12, 15])
def test_every_mask_hides_exactly_the_count(count):
    keys = jax.random.split(jax.random.key(0), 200)
    masks = np.asarray(jax.vmap(lambda k: random_mask(k, 16, count=count))(keys))
    assert masks.dtype == bool
    assert set(masks.sum(axis=1)) == {count}


def test_every_patch_is_hidden_equally_often():
    keys = jax.random.split(jax.random.key(1), 2000)
    rate = np.mean(jax.vmap(lambda k: random_mask(k, 16, count=12))(keys), axis=0)
    assert np.abs(rate - 0.75).max() < 5 * np.sqrt(0.75 * 0.25 / 2000)


def test_count_is_the_ratio_rounded():
    assert hidden_count(196, 0.75) == 147
    assert hidden_count(4, 0.6) == 2


@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.99, 1.5, -0.5])
def test_something_is_hidden_and_something_visible(ratio):
    with pytest.raises(ConfigError, match="must be hidden and one visible"):
        hidden_count(16, ratio)
