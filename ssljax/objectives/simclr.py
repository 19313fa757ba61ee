"""SimCLR: two views of an image agree, and differ from every other image of the batch.

Chen et al. 2020, https://arxiv.org/abs/2002.05709. Reads view1, view2 f32 [B, H, W, C]. The
negatives are the global batch, whatever the mesh. Evaluation uses the encoder without the head
(section 4.2). The head has no batch norm, as in the paper's text; the released code adds it.
"""

import jax
import jax.numpy as jnp

from ssljax.core.sharding import BATCH, Axes, einsum
from ssljax.core.types import Batch, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.nn.loss import cross_entropy

TINY = {"hidden_dim": 32, "out_dim": 16}
PARTITION: dict[str, tuple[Axes, ...]] = {
    "w_project_hidden": ("fsdp", "tensor"),       # [D, F]
    "w_project_out": ("tensor", "fsdp"),          # [F, E]
}


def unit(z: jax.Array) -> jax.Array:
    """Scale the rows of z [B, E] to length one, in float32."""
    z = z.astype(jnp.float32)
    return z * jax.lax.rsqrt(jnp.sum(z * z, axis=-1, keepdims=True) + 1e-12)


def contrast(anchors: jax.Array, partners: jax.Array, temperature: float) -> jax.Array:
    """Return the logits of B anchors over 2B others, [B, 2B]; the positive of row i is column i.

    Both arguments are unit rows [B, E]: two views of the same images. Columns are all partners,
    then all anchors, of which an anchor never sees itself.
    """
    across = einsum("IE,JE->IJ", anchors, partners, out=(BATCH, None))
    within = einsum("IE,JE->IJ", anchors, anchors, out=(BATCH, None))
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
        hits += jnp.sum(jnp.argmax(logits, axis=-1) == targets, dtype=jnp.float32)
    return nats, hits


def make(model: Model, *, temperature: float = 0.1, hidden_dim: int = 2048, out_dim: int = 128,
         ) -> Objective:
    """Return SimCLR around an encoder that pools.

    Args:
        model: reads image, returns pooled [B, D].
        temperature: of the similarities; low ones weigh the hardest negatives most.
        hidden_dim: F of the two-layer projection head.
        out_dim: E, where the loss compares.
    """
    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        k_encoder, k_hidden, k_out = jax.random.split(key, 3)
        encoder, stats = model.init(k_encoder, {"image": batch["view1"]})
        outputs = jax.eval_shape(model.apply, encoder, {"image": batch["view1"]}, stats=stats)
        width = outputs["pooled"].shape[-1]
        glorot = jax.nn.initializers.glorot_uniform()
        head = {"w_project_hidden": glorot(k_hidden, (width, hidden_dim)),
                "w_project_out": glorot(k_out, (hidden_dim, out_dim))}
        return {"encoder": encoder, "head": head}, {"stats": stats}

    def project(params: Params, stats: PyTree, image: jax.Array, key: Key,
                ) -> tuple[jax.Array, PyTree]:
        outputs = model.apply(params["encoder"], {"image": image}, stats=stats, key=key, train=True)
        head = params["head"]
        hidden = einsum("BD,DF->BF", outputs["pooled"], head["w_project_hidden"],
                        out=(BATCH, "tensor"))
        z = einsum("BF,FE->BE", jax.nn.relu(hidden), head["w_project_out"], out=(BATCH, None))
        return z, outputs["stats"]

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        key1, key2 = jax.random.split(key)
        z1, stats = project(params, extra["stats"], batch["view1"], key1)
        z2, stats = project(params, stats, batch["view2"], key2)
        nats, hits = nt_xent(z1, z2, temperature)
        weight = jnp.float32(2 * z1.shape[0])
        metrics = {"positive_first": (hits, weight)}
        return nats, (weight, {"stats": stats}, metrics)

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        del step
        return params, extra

    def encoder(params: Params, extra: PyTree) -> tuple[Params, PyTree]:
        return params["encoder"], extra["stats"]

    return Objective(init, loss, update, encoder, coupled=True)
