"""What methods that compare the embeddings of two views share: encode, and score the match.

Embeddings are rows z [B, E] of the global batch, whatever the mesh. Views go through a network one
after the other: batch norm sees one view at a time, as in BYOL, SimSiam and Barlow Twins.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssljax.core.sharding import BATCH, einsum, reshape
from ssljax.core.types import Batch, Key, Model, Outputs, Params, PyTree
from ssljax.families.heads import Head


class Branch(NamedTuple):
    """An encoder and the head on what it pools.

    init:  (key, image [B, H, W, C]) -> (params, stats), each {"encoder": ..., "head": ...}
    apply: (params, stats, image, key, train=True) -> (z [B, E], pooled [B, D], stats)
    """

    init: Callable[[Key, jax.Array], tuple[Params, PyTree]]
    apply: Callable[..., tuple[jax.Array, jax.Array, PyTree]]


def encode(model: Model, params: Params, stats: PyTree, image: jax.Array, key: Key | None,
           train: bool = True) -> tuple[Outputs, PyTree]:
    """Return a network's outputs for image [B, H, W, C], and its batch statistics moved on."""
    outputs = model.apply(params, {"image": image}, stats=stats, key=key, train=train)
    return outputs, outputs["stats"]


def pooled_width(model: Model, params: Params, stats: PyTree, image: jax.Array) -> int:
    """Return D of pooled [B, D], the width a head reads, without computing anything."""
    apply = lambda params, image: model.apply(params, {"image": image}, stats=stats)  # noqa: E731
    return jax.eval_shape(apply, params, image)["pooled"].shape[-1]


def branch(model: Model, head: Head) -> Branch:
    """Return an encoder with a head on top; `params` may hold more than the two."""
    def init(key: Key, image: jax.Array) -> tuple[Params, PyTree]:
        k_encoder, k_head = jax.random.split(key)
        encoder, stats = model.init(k_encoder, {"image": image})
        top, head_stats = head.init(k_head, pooled_width(model, encoder, stats, image))
        return {"encoder": encoder, "head": top}, {"encoder": stats, "head": head_stats}

    def apply(params: Params, stats: PyTree, image: jax.Array, key: Key | None,
              train: bool = True,
              ) -> tuple[jax.Array, jax.Array, PyTree]:
        outputs, moved = encode(model, params["encoder"], stats["encoder"], image, key, train)
        z, head_stats = head.apply(params["head"], stats["head"], outputs["pooled"], train=train)
        return z, outputs["pooled"], {"encoder": moved, "head": head_stats}

    return Branch(init, apply)


def both_views(net: Branch, params: Params, stats: PyTree, batch: Batch, key: Key | None,
               ) -> tuple[jax.Array, jax.Array, jax.Array, PyTree]:
    """Return z1, z2 [B, E] of view1 and view2, pooled [B, D] of view1, and the statistics.

    Without a key nothing in the network is random.
    """
    key1, key2 = (None, None) if key is None else jax.random.split(key)
    z1, pooled, stats = net.apply(params, stats, batch["view1"], key1)
    z2, _, stats = net.apply(params, stats, batch["view2"], key2)
    return z1, z2, pooled, stats


def local_embeddings(net: Branch, params: Params, stats: PyTree, local: jax.Array, key: Key,
                     ) -> tuple[jax.Array, PyTree]:
    """Return z [B, V, E] of the small crops local [B, V, h, w, C], all in one pass.

    Crops of one size share their batch statistics, as in SwAV's released code.
    """
    rows, views, *shape = local.shape
    flat = reshape(local, (rows * views, *shape), (BATCH, None, None, None))
    z, _, stats = net.apply(params, stats, flat, key)
    return reshape(z, (rows, views, z.shape[-1]), (BATCH, None, None)), stats


def student_encoder(params: Params, extra: PyTree) -> tuple[Params, PyTree]:
    """Return the encoder without its head, and its batch statistics: Objective.encoder."""
    return params["encoder"], extra["stats"]["encoder"]


def unmoved(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
    """Return both as they are: Objective.update of methods where only gradients move weights."""
    del step
    return params, extra


def unit(z: jax.Array) -> jax.Array:
    """Scale the rows of z [..., E] to length one, in float32."""
    z = z.astype(jnp.float32)
    return z * jax.lax.rsqrt(jnp.sum(z * z, axis=-1, keepdims=True) + 1e-12)


def similarities(rows: jax.Array, others: jax.Array) -> jax.Array:
    """Return the products of rows [B, E] with others [K, E]: [B, K], each device its own rows."""
    return einsum("BE,KE->BK", rows, others, out=(BATCH, None))


def products(z1: jax.Array, z2: jax.Array) -> jax.Array:
    """Return the products of columns of z1 [B, E] with those of z2 over the global batch: [E, E].

    In full float32: the accelerators' default rounds factors to ten bits, and what the loss of a
    covariance pushes to zero is a small difference of large sums.
    """
    with jax.default_matmul_precision("float32"):
        return einsum("BE,BF->EF", z1, z2, out=(None, "tensor"))


def cosine(z1: jax.Array, z2: jax.Array) -> jax.Array:
    """Return the cosine of each row of z1 [B, E] with that of z2, f32 [B]."""
    return jnp.sum(unit(z1) * unit(z2), axis=-1)


def first_hits(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Return for how many rows of logits [B, K] the target i32 [B] is the largest, f32 []."""
    return jnp.sum(jnp.argmax(logits, axis=-1) == targets, dtype=jnp.float32)
