"""What methods share that make classes of an image's own pixels: turns, places, permutations.

Several images of every example go through one network as one batch, their features are arranged
into rows, a head tells the class of each row. Images of an example share the batch statistics of
the network, which live in extra. Shapes: S images of an example, M questions about it.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from ssljax.core.sharding import BATCH, reshape, shard
from ssljax.core.types import Batch, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.heads import mlp
from ssljax.families.health import spread
from ssljax.families.joint import pooled_width
from ssljax.nn.loss import cross_entropy


def encode_stack(model: Model, params: Params, stats: PyTree, images: jax.Array, key: Key,
                 ) -> tuple[jax.Array, PyTree]:
    """Return features [B, S, D] of images [B, S, H, W, C], and batch statistics moved on."""
    rows = merge(images)
    outputs = model.apply(params, {"image": rows}, stats=stats, key=key, train=True)
    pooled = outputs["pooled"]
    shape = (*images.shape[:2], pooled.shape[-1])
    return reshape(pooled, shape, (BATCH, None, None)), outputs["stats"]


def merge(images: jax.Array) -> jax.Array:
    """Return images [B, S, H, W, C] as one batch [B S, H, W, C]; every device keeps its own."""
    shape = (images.shape[0] * images.shape[1], *images.shape[2:])
    return reshape(images, shape, (BATCH, None, None, None))


def classification(model: Model, *, images: str,
                   arrange: Callable[[jax.Array, Batch], jax.Array],
                   targets: Callable[[Batch], jax.Array], sizes: Sequence[int]) -> Objective:
    """Return the objective: cross-entropy of every question, and the accuracy as a metric.

    The evaluation encoder is the network without the head.

    Args:
        model: reads image, returns pooled [B S, D].
        images: the key of the batch that holds images [B, S, H, W, C].
        arrange: (features [B, S, D], batch) -> what the head reads of every question, [B, M, E].
        targets: (batch) -> the class of every question, int32 [B, M].
        sizes: of the head's layers; the last is the number of classes.
    """
    head = mlp(sizes, norm="none")

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        k_encoder, k_head = jax.random.split(key)
        rows = merge(batch[images])
        encoder, stats = model.init(k_encoder, {"image": rows})
        shape = (*batch[images].shape[:2], pooled_width(model, encoder, stats, rows))
        asked = arrange(shard(jnp.zeros(shape), BATCH, None, None), batch)
        weights, head_stats = head.init(k_head, asked.shape[-1])
        return ({"encoder": encoder, "head": weights},
                {"stats": {"encoder": stats, "head": head_stats}})

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        stats = extra["stats"]
        features, moved = encode_stack(model, params["encoder"], stats["encoder"], batch[images],
                                       key)
        logits, _ = head.apply(params["head"], stats["head"], arrange(features, batch), train=True)
        wanted = targets(batch)
        nats = jnp.sum(cross_entropy(logits, wanted))
        hits = jnp.sum(jnp.argmax(logits, axis=-1) == wanted, dtype=jnp.float32)
        weight = jnp.float32(wanted.size)
        metrics = {"accuracy": (hits, weight), "embedding_std": spread(features)}
        return nats, (weight, {"stats": {**stats, "encoder": moved}}, metrics)

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        del step
        return params, extra

    def encoder(params: Params, extra: PyTree) -> tuple[Params, PyTree]:
        return params["encoder"], extra["stats"]["encoder"]

    # Networks with batch norm see the rows of a batch together.
    return Objective(init, loss, update, encoder, coupled=True)
