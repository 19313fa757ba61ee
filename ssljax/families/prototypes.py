"""Similarities to learned prototypes: the last layer of DINO's and SwAV's heads.

Rows and prototypes have length one, so scores are cosines. In DINO's head (Caron et al. 2021,
https://arxiv.org/abs/2104.14294, appendix C) a weight norm with a gain frozen at one does it inside
the layer: `prototype_head`. SwAV (https://arxiv.org/abs/2006.09882) takes the weights as they are,
`prototype_scores`, and puts them back to length one after every step, `unit_columns`.
Shapes: B rows, E embedding, K prototypes.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ssljax.core.sharding import BATCH, Axes, einsum
from ssljax.core.types import Key, Params, PyTree
from ssljax.families.heads import Head, mlp
from ssljax.families.joint import unit

PARTITION: dict[str, tuple[Axes, ...]] = {"w_prototypes": ("fsdp", "tensor")}     # [E, K]


def unit_columns(w: jax.Array) -> jax.Array:
    """Scale every prototype, a column of w [E, K], to length one, in float32."""
    w = w.astype(jnp.float32)
    return w * jax.lax.rsqrt(jnp.sum(w * w, axis=0, keepdims=True) + 1e-12)


def init_prototypes(key: Key, width: int, count: int) -> Params:
    """Return {"w_prototypes": [E, K]}: random directions, of length one."""
    return {"w_prototypes": unit_columns(jax.random.normal(key, (width, count)))}


def prototype_scores(z: jax.Array, w: jax.Array) -> jax.Array:
    """Return the scores [..., K] of z [..., E], scaled to length one, and the columns of w [E, K].

    In float32: at a temperature of .04 an error of bfloat16 would be a tenth of a nat.
    """
    middle = (None,) * (z.ndim - 2)
    return einsum("...E,EK->...K", unit(z), w.astype(jnp.float32),
                  out=(BATCH, *middle, "tensor"))


def prototype_head(sizes: Sequence[int], count: int) -> Head:
    """Return DINO's head: an MLP of `sizes` with GELU, then cosines to `count` prototypes.

    Args:
        sizes: widths of the layers; the last is the bottleneck E.
        count: K.
    """
    trunk = mlp(sizes, norm="none", activation="gelu")

    def init(key: Key, width: int) -> tuple[Params, PyTree]:
        k_trunk, k_last = jax.random.split(key)
        params, stats = trunk.init(k_trunk, width)
        return {"mlp": params, **init_prototypes(k_last, sizes[-1], count)}, stats

    def apply(params: Params, stats: PyTree, x: jax.Array, *, train: bool,
              ) -> tuple[jax.Array, PyTree]:
        z, stats = trunk.apply(params["mlp"], stats, x, train=train)
        return prototype_scores(z, unit_columns(params["w_prototypes"])), stats

    return Head(init, apply)
