"""AIM: patches in raster order, each predicted from those before it; a language model of pixels.

El-Nouby et al. 2024, https://arxiv.org/abs/2401.08541. The encoder is a causal vision transformer
(vit with causal=True: any other would read its own answers); a deep head, dropped afterwards, maps
a token to the next patch, standardised by its own mean and variance. Reads image f32 [B, H, W, C].
Evaluation uses the encoder as it was trained, causal, the mean over its patches: the last ones have
seen the whole image. The paper's prefix attention, which prepares for bidirectional fine-tuning, is
not here.
"""

import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import BATCH, shard
from ssljax.core.types import (
    Batch,
    Key,
    Metrics,
    Model,
    Objective,
    Outputs,
    Params,
    PyTree,
    Reconstruction,
)
from ssljax.families.heads import Head, init_norm, layer_norm, mlp
from ssljax.families.health import spread
from ssljax.families.masked import (
    Targets,
    apply_patch_head,
    init_patch_head,
    masked_error,
    pixel_targets,
)

TINY = {"patch_size": 2, "head_depth": 1, "head_width": 8}


def block_net(width: int) -> Head:
    """Return what one residual block computes, four times as wide inside."""
    return mlp([4 * width, width], norm="none", activation="gelu")


def init_head(key: Key, width: int, *, head_depth: int, head_width: int, values: int) -> Params:
    """Return residual MLP blocks between two linear maps, from tokens [.., D] to patches [.., P].

    Section 3.3 of the paper: the blocks of a transformer without attention.
    """
    k_in, k_out, k_blocks = jax.random.split(key, 3)

    def block(key: Key) -> Params:
        params, _ = block_net(head_width).init(key, head_width)
        return {"norm": init_norm("layer", head_width)[0], "mlp": params}

    return {"in": mlp([head_width]).init(k_in, width)[0],
            **{f"block{i}": block(jax.random.fold_in(k_blocks, i)) for i in range(head_depth)},
            "norm": init_norm("layer", head_width)[0],
            "out": init_patch_head(k_out, head_width, values)}


def apply_head(head: Params, tokens: jax.Array, *, head_depth: int, head_width: int) -> jax.Array:
    """Return predictions float32 [B, N, P] of tokens [B, N, D]."""
    x, _ = mlp([head_width]).apply(head["in"], {}, tokens, train=True)
    net = block_net(head_width)
    for i in range(head_depth):
        block = head[f"block{i}"]
        y, _ = net.apply(block["mlp"], {}, layer_norm(x, **block["norm"]), train=True)
        x += y
    return apply_patch_head(head["out"], layer_norm(x, **head["norm"]))


def make(model: Model, *, patch_size: int, targets: Targets = "normalised_pixels",
         head_depth: int = 12, head_width: int = 2048) -> Objective:
    """Return AIM around a causal encoder.

    Args:
        model: reads image, returns patches [B, N, D], each of itself and earlier ones, and pooled.
        patch_size: side of a patch in pixels, the network's.
        targets: pixels as they are, or standardised within each patch.
        head_depth: residual MLP blocks of the head.
        head_width: its width; hidden layers are four times as wide.
    """
    sizes = {"head_depth": head_depth, "head_width": head_width}
    if head_depth < 0 or head_width < 1:
        raise ConfigError(f"aim head_depth {head_depth} and head_width {head_width}: expected at "
                          "least 0 blocks and 1 unit.")

    def wanted(image: jax.Array) -> jax.Array:
        return pixel_targets(image, patch_size, targets)

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        k_encoder, k_head = jax.random.split(key)
        inputs = {"image": batch["image"]}
        encoder, stats = model.init(k_encoder, inputs)
        tokens = jax.eval_shape(model.apply, encoder, inputs, stats=stats)["patches"]
        values = jax.eval_shape(wanted, batch["image"]).shape[-1]
        head = init_head(k_head, tokens.shape[-1], values=values, **sizes)
        return {"encoder": encoder, "head": head}, {"stats": stats}

    def forward(params: Params, extra: PyTree, batch: Batch, key: Key, *, train: bool,
                ) -> tuple[jax.Array, jax.Array, Outputs]:
        """Return predictions [B, N, P], those of the first patch zeros, and which are scored."""
        outputs = model.apply(params["encoder"], {"image": batch["image"]}, stats=extra["stats"],
                              key=key, train=train)
        following = apply_head(params["head"], outputs["patches"][:, :-1], **sizes)
        first = shard(jnp.zeros_like(following[:, :1]), BATCH, None, None)
        predictions = jnp.concatenate([first, following], axis=1)
        scored = jnp.broadcast_to(jnp.arange(predictions.shape[1]) > 0, predictions.shape[:2])
        return predictions, shard(scored, BATCH, None), outputs

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        predictions, scored, outputs = forward(params, extra, batch, key, train=True)
        total = masked_error(predictions, wanted(batch["image"]), scored)
        weight = jnp.sum(scored, dtype=jnp.float32)
        metrics = {"next_patch_error": (total, weight), "embedding_std": spread(outputs["pooled"])}
        return total, (weight, {"stats": outputs["stats"]}, metrics)

    def predict(params: Params, extra: PyTree, batch: Batch, key: Key,
                ) -> tuple[jax.Array, jax.Array, jax.Array]:
        predictions, scored, _ = forward(params, extra, batch, key, train=False)
        rows, patches = scored.shape
        earlier = jnp.tril(jnp.ones((patches, patches), bool), -1)
        return predictions, scored, shard(
            jnp.broadcast_to(earlier, (rows, patches, patches)), BATCH, None, None)

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        del step
        return params, extra

    def encoder(params: Params, extra: PyTree) -> tuple[Params, PyTree]:
        return params["encoder"], extra["stats"]

    return Objective(init, loss, update, encoder, coupled=False, reconstruct=Reconstruction(
        predict, wanted, targets == "pixels"))
