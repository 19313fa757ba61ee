"""Autoregressive pixels: predict the colour of every pixel from all before it.

Chen et al. 2020, "Generative pretraining from pixels",
https://cdn.openai.com/papers/Generative_Pretraining_from_Pixels_V2.pdf. Reads tokens, targets and
positions i32 [B, L], colours of a palette in raster order, and of image [B, H, W, C] the number of
channels, the dimensions that a colour stands for. Evaluation uses the network on whole
images: the average over all pixels of what enters its middle block.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.types import Batch, Inputs, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.health import spread
from ssljax.nn.loss import Loss, next_token_nats

TINY = {"colours": 4}


def make(model: Model, *, colours: int = 512, loss: Loss = "auto") -> Objective:
    """Return the objective: nats of every pixel.

    Args:
        model: reads tokens and positions as decoders do, and image to be evaluated.
        colours: of the palette: what may be drawn. The network's table may have more rows.
        loss: how logits are held; see objectives.next_token.
    """
    def inputs(batch: Batch) -> Inputs:
        return {"tokens": batch["tokens"], "positions": batch["positions"]}

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        params, stats = model.init(key, inputs(batch))
        return params, {"stats": stats}

    def loss_sum(params: Params, extra: PyTree, batch: Batch, key: Key,
                 ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        outputs = model.apply(params, inputs(batch), stats=extra["stats"], key=key, train=True)
        targets, channels = batch["targets"], batch["image"].shape[-1]
        total, nats = next_token_nats(outputs, targets, jnp.ones(targets.shape), kind=loss)
        weight = jnp.float32(targets.size)
        pooled = jnp.mean(outputs["sequence"].astype(jnp.float32), axis=1)
        # Of the quantised image: no figure of a palette compares with one of all 256 levels.
        metrics = {"bits_per_dimension": (nats / (math.log(2) * channels), weight),
                   "embedding_std": spread(pooled)}
        return total, (weight, {"stats": outputs["stats"]}, metrics)

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        del step
        return params, extra

    def encoder(params: Params, extra: PyTree) -> tuple[Params, PyTree]:
        return params, extra["stats"]

    return Objective(init, loss_sum, update, encoder, sample=sampler(model, colours))


def sampler(model: Model, colours: int) -> Callable[..., Batch]:
    """Return the objective's `sample`."""
    def sample(params: Params, extra: PyTree, key: Key, like: Batch, *,
               temperature: float = 1.0) -> Batch:
        """Return {"targets": int32, as many rows and pixels as `like` has}, drawn one by one.

        Args:
            params: of the network.
            extra: its statistics.
            key: of the draws.
            like: a batch of this shape.
            temperature: of the logits; 1 draws from what was learned, less from its peaks.

        Raises:
            ConfigError: the temperature is not positive.
        """
        if temperature <= 0:
            raise ConfigError(f"temperature {temperature}: expected more than 0.")
        rows, length = like["targets"].shape

        def draw(carry: PyTree, place: jax.Array) -> tuple[PyTree, jax.Array]:
            token, cache = carry
            outputs = model.apply(params, {"tokens": token[:, None],
                                           "positions": jnp.full((rows, 1), place)},
                                  stats=extra["stats"], cache=cache)
            logits = outputs["logits"][:, 0, :colours].astype(jnp.float32) / temperature
            token = jax.random.categorical(jax.random.fold_in(key, place), logits)
            token = token.astype(jnp.int32)
            return (token, outputs["cache"]), token

        start = jnp.full((rows,), colours, jnp.int32)
        begin = start, model.init_cache(params, rows, length)
        _, tokens = jax.lax.scan(draw, begin, jnp.arange(length, dtype=jnp.int32))
        return {"targets": tokens.T}

    return sample
