"""LARS, momentum with a trust ratio per layer, You et al. 2017, https://arxiv.org/abs/1708.03888.

Algorithm 1: v = momentum v + lr trust |w| / |g + wd w| (g + wd w), w moves by -v; the norm of the
sum instead of the sum of norms, as in the code of SimCLR and BYOL.
"""

import jax
import jax.numpy as jnp
import optax

from ssljax.core.types import PyTree
from ssljax.optim.layers import per_layer
from ssljax.optim.steps import NO_DECAY, all_but, descend

TINY = {"lr": 5.0, "trust": 1e-2}


def make(schedule: optax.Schedule, *, lr: float, momentum: float = 0.9, trust: float = 1e-3,
         clip: bool = False, nesterov: bool = False, weight_decay: float = 0.0,
         no_decay: str = NO_DECAY) -> optax.GradientTransformation:
    """Return the rule.

    Args:
        schedule: step -> fraction of lr.
        lr: peak learning rate; SimCLR's is 0.3 for every 256 rows of a batch.
        momentum: decay of the velocity, which contains the learning rate.
        trust: relative change of a layer at a learning rate of 1.
        clip: whether the trust ratio only ever slows a layer down: it moves by the smaller of
            trust |w| / |g| and the learning rate, times g. With trust = 0.02 this is how solo-learn
            (https://jmlr.org/papers/v23/21-1155.html) trains on small images.
        nesterov: look ahead along the velocity.
        weight_decay: added to the gradient before its norm is taken.
        no_decay: names of weights that are neither decayed nor scaled by the trust ratio, a
            regular expression.
    """
    layers = all_but(no_decay)
    ratio = (clipped_ratio(trust, lambda step: lr * schedule(step)) if clip else
             per_layer(optax.scale_by_trust_ratio(trust_coefficient=trust)))
    return optax.chain(
        optax.add_decayed_weights(weight_decay, layers), optax.masked(ratio, layers),
        descend(schedule, lr), optax.trace(momentum, nesterov))


def clipped_ratio(trust: float, rate: optax.Schedule) -> optax.GradientTransformation:
    """Scale every layer by min(trust |w| / |g| / rate(step), 1); by 1 where a norm is 0."""
    def move(updates: PyTree, state: optax.ScaleByScheduleState, params: PyTree,
             ) -> tuple[PyTree, PyTree]:
        # A warm-up starts at a rate of 0, where no ratio is too large.
        at = jnp.maximum(rate(state.count), 1e-12)

        def scale(update: jax.Array, inner: PyTree, param: jax.Array) -> tuple[jax.Array, PyTree]:
            size, slope = (jnp.sqrt(jnp.sum(x * x)) for x in (param, update))
            safe = jnp.where(slope > 0, slope, 1)
            ratio = jnp.where((size > 0) & (slope > 0), trust * size / safe / at, 1)
            return update * jnp.minimum(ratio, 1), inner

        rule = optax.GradientTransformation(lambda _: optax.EmptyState(), scale)
        moved, _ = per_layer(rule).update(updates, optax.EmptyState(), params)
        return moved, optax.ScaleByScheduleState(optax.safe_increment(state.count))

    return optax.GradientTransformation(
        lambda _: optax.ScaleByScheduleState(jnp.zeros([], jnp.int32)), move)
