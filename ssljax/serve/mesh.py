"""One model over several devices: each holds a share of every large matrix and of the cache.

Megatron's split (Shoeybi et al. 2019, https://arxiv.org/abs/1909.08053): heads, hidden units and
rows of the vocabulary are divided, so that each block sums over devices twice. The exported
programs were traced for one device; called with arrays that lie on several, the compiler divides
their products (https://docs.jax.dev/en/latest/export/export.html).
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec, Sharding

from ssljax.core.errors import ServeError
from ssljax.serve.weights import Place

# Axis that is divided, from the end: a stack of layers has one more in front, and a quantised
# matrix keeps its axes.
DIVIDED = {
    "w_qkv": -2, "b_qkv": -2,                    # [D, 3, H, K], [3, H, K]
    "w_out": -3,                                 # [H, K, D]
    "w_gate": -1, "w_up": -1, "b_up": -1,        # [D, F], [F]
    "w_down": -2,                                # [F, D]
    "embedding": -2, "w_vocab": -2,              # [V, D]
}
HEADS = 1                                        # axis of a page, keys and values alike


def place_over(count: int) -> Place:
    """Return what divides weights over the first `count` devices.

    Raises:
        ServeError: there are fewer.
    """
    devices = jax.devices()[:count]
    if not 1 <= count == len(devices):
        raise ServeError(f"tensor {count}: this process has {jax.device_count()} devices; expected "
                         "1 to that many.")
    mesh = jax.make_mesh((count,), ("tensor",), axis_types=(AxisType.Auto,), devices=devices)

    def place(name: str, array: np.ndarray) -> jax.Array:
        axis = next((DIVIDED[part] for part in name.split("/") if part in DIVIDED), None)
        # What does not divide, such as a scale of all heads, every device has whole.
        whole = axis is None or -axis > array.ndim or array.shape[axis] % count
        spec = [None] * array.ndim
        if not whole:
            spec[axis] = "tensor"
        return jax.device_put(array, NamedSharding(mesh, PartitionSpec(*spec)))

    return place


def cache_sharding(weights: Any, heads: int) -> Sharding:
    """Return where the cache's pages are to lie.

    Raises:
        ServeError: the heads do not divide over the devices of the weights.
    """
    sharding = jax.tree.leaves(weights)[0].sharding
    if len(sharding.device_set) == 1:
        return sharding
    if heads % len(sharding.device_set):
        raise ServeError(f"tensor {len(sharding.device_set)}: the model has {heads} heads, which "
                         "do not divide over as many devices; use a number that divides them.")
    return NamedSharding(sharding.mesh, PartitionSpec(*[None] * HEADS, "tensor"))
