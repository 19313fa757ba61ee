"""Tube masks of videos, VideoMAE, https://arxiv.org/abs/2203.12602 (section 3.3).

The same patches are hidden at every time: what moves little cannot be copied from another frame.
"""

import jax
import jax.numpy as jnp

from ssljax.augment.patch_mask import random_mask
from ssljax.core.types import Key


def tube_mask(key: Key, times: int, num_patches: int, *, count: int) -> jax.Array:
    """Return bool [T * N], time first: True on the same `count` of N patches at all T times."""
    return jnp.tile(random_mask(key, num_patches, count=count), times)
