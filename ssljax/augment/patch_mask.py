"""Random patch masks of a fixed count, as in MAE (section 3), https://arxiv.org/abs/2111.06377."""

import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.types import Key


def hidden_count(num_patches: int, ratio: float) -> int:
    """Return how many patches a ratio hides; at least one is hidden and one visible.

    Raises:
        ConfigError: the ratio leaves nothing to predict, or nothing to predict it from.
    """
    count = round(num_patches * ratio)
    if not 0 < count < num_patches:
        raise ConfigError(f"ratio {ratio} hides {count} of {num_patches} patches; at least one "
                          "must be hidden and one visible.")
    return count


def random_mask(key: Key, num_patches: int, *, count: int) -> jax.Array:
    """Return bool [N], True on `count` patches; every such set is equally likely."""
    order = jnp.argsort(jax.random.uniform(key, (num_patches,)))
    return jnp.zeros(num_patches, bool).at[order[:count]].set(True)


def spread_mask(key: Key, grid: int, *, side: int, count: int) -> jax.Array:
    """Return bool [N], True on `count` squares of `side` by `side` patches; SimMIM, section 3.2.

    https://arxiv.org/abs/2111.09886. `side` divides `grid`, the patches along one side.
    """
    coarse = random_mask(key, (grid // side)**2, count=count).reshape(grid // side, grid // side)
    return jnp.repeat(jnp.repeat(coarse, side, axis=0), side, axis=1).reshape(-1)
