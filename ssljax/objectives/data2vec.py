"""data2vec 2: predict a teacher's averaged inner features of a whole image from a part of it.

Baevski et al. 2022, https://arxiv.org/abs/2212.07525, after https://arxiv.org/abs/2202.03555. Reads
image f32 [B, H, W, C] and hidden bool [B, N], or [B, M, N]: M masks of one image share one pass of
the teacher, whose targets cost most of a step. The student encodes visible patches only. The
teacher is its moving average. Evaluation uses the student's encoder on whole images, as the
paper's fine-tuning does.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from ssljax.augment.patch_mask import hidden_count
from ssljax.core.errors import ConfigError
from ssljax.core.sharding import BATCH, per_example, reshape, shard
from ssljax.core.types import Batch, Inputs, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.distillation import steps_of
from ssljax.families.health import spread
from ssljax.families.masked import normalised, split_patches
from ssljax.families.teacher import ema, frozen, linear_momentum

TINY = {"class_weight": 0.01}
TargetNorm = Literal["instance", "layer"]


def layer_targets(layers: jax.Array, norm: TargetNorm, *, norm_mean: bool = True) -> jax.Array:
    """Return the mean over blocks of their normalised features, float32 [B, N, D].

    Args:
        layers: [K, B, N, D], what the feed-forward layers of the last K blocks add.
        norm: "instance": each feature over the patches of its image; "layer": each patch over its
            features. Without it one block of large features would be the target.
        norm_mean: whether the mean has a layer norm too.
    """
    y = normalised(jax.lax.stop_gradient(layers), axis=2 if norm == "instance" else 3)
    y = jnp.mean(y, axis=0)
    return normalised(y) if norm_mean else y


def regression(predictions: jax.Array, targets: jax.Array, beta: float) -> jax.Array:
    """Return the error of each row, summed over its D values and divided by sqrt(D), float32 [...].

    Args:
        predictions: [..., D].
        targets: [..., D].
        beta: where the square turns into a line (smooth L1); 0 is the square everywhere.
    """
    error = predictions.astype(jnp.float32) - targets
    size = jnp.abs(error)
    each = error**2 if beta == 0 else jnp.where(size < beta, error**2 / (2 * beta),
                                                size - beta / 2)
    return jnp.sum(each, axis=-1) / error.shape[-1]**0.5


def clones(hidden: jax.Array) -> jax.Array:
    """Return bool [B, M, N] of one mask [B, N] or several of an image."""
    return hidden if hidden.ndim == 3 else hidden[:, None]


def repeated(x: jax.Array, times: int) -> jax.Array:
    """Return x [B, ...] with every row `times` times in a row, [B M, ...]."""
    b, *rest = x.shape
    rows = jnp.broadcast_to(x[:, None], (b, times, *rest))
    rows = shard(rows, BATCH, *(None,) * (x.ndim))
    return reshape(rows, (b * times, *rest), (BATCH, *(None,) * len(rest)))


def make(model: Model, *, decoder: Model, total_steps: int, ratio: float = 0.8,
         norm: TargetNorm = "instance", norm_mean: bool = True, beta: float = 0.0,
         class_weight: float = 0.0, momentum: float = 0.9998, final_momentum: float = 0.99999,
         momentum_steps: float = 100_000) -> Objective:
    """Return data2vec 2 around a vision transformer and a convolutional decoder.

    Defaults are those of the authors' images, fairseq's v2/base_images_only_task.yaml, which
    normalise the mean of the blocks again.

    Args:
        model: reads image and visible i32 [B, K]; returns sequence, pooled, and layers of a whole
            image: dict(name="vit", collect=K, ...).
        decoder: reads sequence and visible, returns predictions [B, N, D].
        total_steps: steps of the run.
        ratio: fraction of hidden patches, the pretext's; it fixes K at compile time.
        norm: of a block's features before their mean.
        norm_mean: whether the mean has a layer norm too.
        beta: of the smooth L1 loss; 0 is the squared error.
        class_weight: of the class token's error to the mean target; .01 in the paper.
        momentum: what the teacher keeps of itself at first,
        final_momentum: and after momentum_steps.
        momentum_steps: between the two: a fraction of the run, or from 1 on steps.
    """
    keep = linear_momentum(momentum, final_momentum, steps_of(momentum_steps, total_steps))

    def split(batch: Batch) -> tuple[Inputs, jax.Array, int]:
        hidden = clones(batch["hidden"])
        b, times, patches = hidden.shape
        count = patches - hidden_count(patches, ratio)
        rows = reshape(hidden, (b * times, patches), (BATCH, None))
        visible, scored = per_example(lambda row: split_patches(row, count))(rows)
        return {"image": repeated(batch["image"], times), "visible": visible}, scored, times

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        k_encoder, k_decoder = jax.random.split(key)
        inputs, _, _ = split(batch)
        encoder, stats = model.init(k_encoder, inputs)
        outputs = jax.eval_shape(lambda p: model.apply(p, inputs, stats=stats), encoder)
        if "layers" not in outputs or (class_weight and "class" not in outputs):
            raise ConfigError(f"data2vec reads layers{' and class' * bool(class_weight)} but the "
                              f'model returns {", ".join(sorted(outputs))}; set collect (and '
                              "class_token) of the vit.")
        sequence = jnp.zeros(outputs["sequence"].shape, outputs["sequence"].dtype)
        head, _ = decoder.init(k_decoder, {"sequence": sequence, "visible": inputs["visible"]})
        return ({"encoder": encoder, "decoder": head},
                {"teacher": jax.tree.map(jnp.copy, encoder), "stats": stats})

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        inputs, scored, times = split(batch)
        encoded = model.apply(params["encoder"], inputs, stats=extra["stats"], key=key, train=True)
        decoded = decoder.apply(params["decoder"], {"sequence": encoded["sequence"],
                                                    "visible": inputs["visible"]}, train=True)
        whole = model.apply(frozen(extra["teacher"], like=params["encoder"]),
                            {"image": batch["image"]}, stats=extra["stats"])
        targets = layer_targets(whole["layers"], norm, norm_mean=norm_mean)
        predictions = decoded["predictions"]
        errors = regression(predictions, repeated(targets, times), beta)
        total, weight = jnp.sum(errors * scored), jnp.sum(scored, dtype=jnp.float32)
        metrics = {"embedding_std": spread(encoded["pooled"]), "patch_error": (total, weight),
                   "target_std": deviation(targets), "prediction_std": deviation(predictions)}
        if class_weight:
            mean = repeated(jnp.mean(targets, axis=1), times)
            error = jnp.mean(regression(encoded["class"], mean, beta))
            total += class_weight * error * weight
            metrics["class_error"] = (error * weight, weight)
        return total, (weight, {**extra, "stats": encoded["stats"]}, metrics)

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        teacher = ema(extra["teacher"], params["encoder"], keep(step))
        return params, {**extra, "teacher": teacher}

    def encoder(params: Params, extra: PyTree) -> tuple[Params, PyTree]:
        return params["encoder"], extra["stats"]

    return Objective(init, loss, update, encoder, coupled=False)


def deviation(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return (sum, weight) of the mean over features of their deviation over all patches.

    Targets and predictions that stop to vary are the method's collapse; fairseq's stops on it.
    """
    rows = jnp.float32(x.shape[0])
    x = jax.lax.stop_gradient(x).astype(jnp.float32)
    return jnp.mean(jnp.std(x, axis=(0, 1))) * rows, rows
