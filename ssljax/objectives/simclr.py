"""SimCLR: two views of an image agree, and differ from every other image of the batch.

Chen et al. 2020, https://arxiv.org/abs/2002.05709. Reads view1, view2 f32 [B, H, W, C]. The
negatives are the global batch, whatever the mesh. Evaluation uses the encoder without the head
(section 4.2).
"""

from typing import Literal

import jax
import jax.numpy as jnp

from ssljax.core.types import Batch, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.heads import mlp
from ssljax.families.health import spread
from ssljax.families.joint import (
    both_views,
    branch,
    first_hits,
    similarities,
    student_encoder,
    unit,
    unmoved,
)
from ssljax.nn.loss import cross_entropy

TINY = {"hidden_dim": 32, "out_dim": 16}


def contrast(anchors: jax.Array, partners: jax.Array, temperature: float) -> jax.Array:
    """Return the logits of B anchors over 2B others, [B, 2B]; the positive of row i is column i.

    Both arguments are unit rows [B, E]: two views of the same images. Columns are all partners,
    then all anchors, of which an anchor never sees itself.
    """
    across = similarities(anchors, partners)
    within = similarities(anchors, anchors)
    within = jnp.where(jnp.eye(anchors.shape[0], dtype=bool), -jnp.inf, within)
    return jnp.concatenate([across, within], axis=1) / temperature


def nt_xent(z1: jax.Array, z2: jax.Array, temperature: float) -> tuple[jax.Array, jax.Array]:
    """Equation 1, summed over both views of every image.

    Args:
        z1: projections [B, E] of the first views, of any length.
        z2: projections of the second views of the same images.
        temperature: tau.

    Returns:
        The nats of 2B anchors, and for how many the positive is the most similar of all.
    """
    z1, z2 = unit(z1), unit(z2)
    targets = jnp.arange(z1.shape[0])
    nats, hits = jnp.float32(0), jnp.float32(0)
    for anchors, partners in ((z1, z2), (z2, z1)):
        logits = contrast(anchors, partners, temperature)
        nats += jnp.sum(cross_entropy(logits, targets))
        hits += first_hits(logits, targets)
    return nats, hits


def make(model: Model, *, temperature: float = 0.1, hidden_dim: int = 2048, out_dim: int = 128,
         norm: Literal["none", "batch"] = "none") -> Objective:
    """Return SimCLR around an encoder that pools.

    Args:
        model: reads image, returns pooled [B, D].
        temperature: of the similarities; low ones weigh the hardest negatives most.
        hidden_dim: F of the two-layer projection head.
        out_dim: E, where the loss compares.
        norm: of the head: "none" is the paper's text, W2 relu(W1 h); "batch" normalises after
            both layers, as the released code does.
    """
    net = branch(model, mlp((hidden_dim, out_dim), norm=norm, last_norm=norm, bias="none"))

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        params, stats = net.init(key, batch["view1"])
        return params, {"stats": stats}

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        z1, z2, pooled, stats = both_views(net, params, extra["stats"], batch, key)
        nats, hits = nt_xent(z1, z2, temperature)
        weight = jnp.float32(2 * z1.shape[0])
        metrics = {"positive_first": (hits, weight), "embedding_std": spread(pooled)}
        return nats, (weight, {"stats": stats}, metrics)

    return Objective(init, loss, unmoved, student_encoder, coupled=True)
