"""A queue of embeddings from earlier batches: more rows to compare with than one batch has.

He et al. 2020, https://arxiv.org/abs/1911.05722 (MoCo). Every device holds the whole queue: 65,536
keys of 128 numbers are 32 MiB, less than the traffic of a queue that is dealt out.
"""

import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import Axes, shard
from ssljax.core.types import Key, PyTree
from ssljax.families.joint import unit

PARTITION: dict[str, tuple[Axes, ...]] = {"queue": (None, None)}      # [K, E]


def init_queue(key: Key, length: int, width: int, batch_size: int) -> PyTree:
    """Return {"queue": random unit rows [length, width], "next": 0, "filled": 0}.

    Raises:
        ConfigError: the length is not a multiple of the batch, whose rows it swaps whole.
    """
    if length < 1 or length % batch_size:
        raise ConfigError(f"a queue of {length} embeddings is not a multiple of the batch size "
                          f"{batch_size}; use {max(1, length // batch_size) * batch_size}.")
    rows = unit(jax.random.normal(key, (length, width)))
    return {"queue": rows, "next": jnp.int32(0), "filled": jnp.int32(0)}


def push(state: PyTree, rows: jax.Array) -> PyTree:
    """Return the queue with rows [B, E] in the place of its oldest, without gradient."""
    length = state["queue"].shape[0]
    rows = shard(jax.lax.stop_gradient(rows).astype(state["queue"].dtype), None, None)
    queue = jax.lax.dynamic_update_slice_in_dim(state["queue"], rows, state["next"], axis=0)
    return {"queue": queue, "next": (state["next"] + rows.shape[0]) % length,
            "filled": jnp.minimum(state["filled"] + rows.shape[0], length)}
