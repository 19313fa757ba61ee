"""I-JEPA: from the features of a context, predict the features of hidden blocks.

Assran et al. 2023, https://arxiv.org/abs/2301.08243. The targets are those of a second encoder
that follows the first as a moving average and sees the whole image. Reads image f32 [B, H, W, C],
context i32 [B, K] and targets i32 [B, M, T]. Evaluation uses the **target** encoder, the mean over
its patches (the paper's appendix A; a frequent mistake is to take the context encoder).
"""

import jax
import jax.numpy as jnp

from ssljax.core.sharding import BATCH, per_example, take
from ssljax.core.types import Batch, Inputs, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.health import spread
from ssljax.families.masked import normalised
from ssljax.families.teacher import ema, frozen, linear_momentum

TINY: dict[str, object] = {}


def smooth_l1(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Sum over tokens of Huber's loss at 1, the mean over features [..., D], in float32."""
    error = jnp.abs(predictions.astype(jnp.float32) - targets)
    return jnp.sum(jnp.mean(jnp.where(error < 1, 0.5 * error**2, error - 0.5), axis=-1))


def make(model: Model, *, predictor: Model, total_steps: int, momentum: float = 0.996,
         final_momentum: float = 1.0) -> Objective:
    """Return I-JEPA around an encoder and a narrow predictor.

    Args:
        model: reads image, and visible i32 [B, K] of the context; returns patches [B, N or K, D]
            and pooled, their mean.
        predictor: reads sequence [B, K, D], visible and targets, returns predictions [B, M, T, D].
        total_steps: of the run; the momentum grows linearly over them.
        momentum: of the target encoder at the first step.
        final_momentum: at the last step.
    """
    momentum_at = linear_momentum(momentum, final_momentum, total_steps)

    def context_of(batch: Batch) -> Inputs:
        return {"image": batch["image"], "visible": batch["context"]}

    def asked(features: jax.Array, batch: Batch) -> Inputs:
        return {"sequence": features, "visible": batch["context"], "targets": batch["targets"]}

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        k_encoder, k_predictor = jax.random.split(key)
        inputs = context_of(batch)
        encoder, stats = model.init(k_encoder, inputs)
        shape = jax.eval_shape(model.apply, encoder, inputs, stats=stats)["patches"]
        head, head_stats = predictor.init(
            k_predictor, asked(jnp.zeros(shape.shape, shape.dtype), batch))
        extra = {"stats": {"encoder": stats, "predictor": head_stats},
                 "teacher": jax.tree.map(jnp.copy, encoder)}
        return {"encoder": encoder, "predictor": head}, extra

    def features_of(params: Params, extra: PyTree, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """Return the target encoder's patches [B, N, D] and pooled, of whole images.

        Nothing is dropped: targets are not drawn.
        """
        teacher = frozen(extra["teacher"], params["encoder"])
        outputs = model.apply(teacher, {"image": batch["image"]}, stats=extra["stats"]["encoder"])
        return jax.lax.stop_gradient((normalised(outputs["patches"]), outputs["pooled"]))

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        k_encoder, k_predictor = jax.random.split(key)
        whole, pooled = features_of(params, extra, batch)
        wanted = per_example(lambda rows, ids: rows[ids])(whole, batch["targets"])
        encoded = model.apply(params["encoder"], context_of(batch),
                              stats=extra["stats"]["encoder"], key=k_encoder, train=True)
        predicted = predictor.apply(params["predictor"], asked(encoded["patches"], batch),
                                    stats=extra["stats"]["predictor"], key=k_predictor, train=True)
        total = smooth_l1(predicted["predictions"], wanted)
        weight = jnp.float32(batch["targets"].size)
        # What costs nothing to know: the batch's mean target at each place. A loss above it has
        # learned nothing, a mean that is as good as the features themselves is collapse.
        mean = take(jnp.mean(whole, axis=0), batch["targets"], out=(BATCH, None, None, None))
        metrics = {"smooth_l1": (total, weight), "smooth_l1_of_mean": (smooth_l1(mean, wanted),
                                                                       weight),
                   "embedding_std": spread(pooled)}
        stats = {"encoder": encoded["stats"], "predictor": predicted["stats"]}
        return total, (weight, {**extra, "stats": stats}, metrics)

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        teacher = ema(extra["teacher"], params["encoder"], momentum_at(step))
        return params, {**extra, "teacher": teacher}

    def encoder(params: Params, extra: PyTree) -> tuple[Params, PyTree]:
        del params
        return extra["teacher"], extra["stats"]["encoder"]

    return Objective(init, loss, update, encoder, coupled=False)
