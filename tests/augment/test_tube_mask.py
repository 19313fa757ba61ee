"""The same patches at every time."""

import jax
import numpy as np

from ssljax.augment.tube_mask import tube_mask


def test_the_same_patches_are_hidden_at_every_time():
    mask = np.asarray(tube_mask(jax.random.key(0), 8, 16, count=12)).reshape(8, 16)
    assert set(mask.sum(1)) == {12} and (mask == mask[0]).all()
    assert not np.array_equal(mask[0], tube_mask(jax.random.key(1), 1, 16, count=12))
