"""What DINO, iBOT and DINOv2 share: sharp, centred targets and cross-entropy across crops.

Caron et al. 2021, https://arxiv.org/abs/2104.14294 (algorithm 1). A teacher's scores become
targets by a low temperature, against one prototype for nothing, and by a centre, against one
prototype for everything. Shapes: B images, V local crops, M patches of an image, K prototypes.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import shard
from ssljax.core.types import PyTree
from ssljax.families.sinkhorn import sinkhorn

Centring = Literal["centre", "sinkhorn"]


def steps_of(amount: float, total_steps: int) -> int:
    """Return a number of steps: below 1 `amount` is a fraction of the run, from 1 on it is steps.

    Raises:
        ConfigError: it is negative.
    """
    if amount < 0:
        raise ConfigError(f"{amount} steps of {total_steps}: expected a fraction of the run below "
                          "1, or a number of steps.")
    return round(amount * total_steps) if amount < 1 else round(amount)


def warm_temperature(start: float, end: float, steps: int) -> Callable[[jax.Array], jax.Array]:
    """Return step -> temperature along a line from `start` to `end` at `steps`, then `end`.

    A teacher that is sharp before its scores mean anything, or warm before they are sharp, trains
    badly; the paper warms from .04 to .07.

    Raises:
        ConfigError: a temperature is not positive.
    """
    if start <= 0 or end <= 0:
        raise ConfigError(f"teacher temperatures {start} and {end}: expected numbers above 0, such "
                          "as 0.04 and 0.07.")

    def temperature(step: jax.Array) -> jax.Array:
        return start + (end - start) * jnp.clip(step / jnp.float32(max(1, steps)), 0, 1)

    return temperature


def centred_targets(scores: jax.Array, centre: jax.Array, temperature: jax.Array) -> jax.Array:
    """Return softmax((scores - centre) / temperature), float32 [..., K], without gradient."""
    centred = jax.lax.stop_gradient(scores.astype(jnp.float32) - centre)
    return jax.nn.softmax(centred / temperature, axis=-1)


def moved_centre(centre: jax.Array, scores: jax.Array, momentum: float,
                 weights: jax.Array | None = None) -> jax.Array:
    """Return momentum * centre + (1 - momentum) * mean of the scores, for the next step's targets.

    Args:
        centre: [K].
        scores: [..., K] of a teacher.
        momentum: what is kept.
        weights: what each row counts, [...]; a batch in which nothing counts moves nothing.
    """
    weights = jnp.ones(scores.shape[:-1]) if weights is None else weights
    total = jnp.sum(scores.astype(jnp.float32) * weights[..., None],
                    axis=tuple(range(scores.ndim - 1)))
    count = jnp.sum(weights)
    mean = jnp.where(count > 0, total / jnp.maximum(count, 1), centre)
    return shard(jax.lax.stop_gradient(momentum * centre + (1 - momentum) * mean), "tensor")


class Game(NamedTuple):
    """How a teacher's scores become targets, and how a student is held to them.

    temperature:         the student's
    teacher_temperature: step -> the teacher's
    centring:            what keeps all prototypes in use: a moving centre, or Sinkhorn's
                         assignments of all rows of the global batch
    centre_momentum:     what a centre keeps of itself
    """

    temperature: float
    teacher_temperature: Callable[[jax.Array], jax.Array]
    centring: Centring
    centre_momentum: float

    def targets(self, scores: jax.Array, centre: jax.Array, step: jax.Array,
                weights: jax.Array | None = None) -> jax.Array:
        """Return the targets [..., K] of a teacher's scores, whose rows [...] may weigh."""
        temperature = self.teacher_temperature(step)
        if self.centring == "centre":
            return centred_targets(scores, centre, temperature)
        return sinkhorn(scores, temperature=temperature, weights=weights)


def nats(targets: jax.Array, scores: jax.Array, temperature: float) -> jax.Array:
    """Return -sum_k targets log softmax(scores / temperature), float32 [...]."""
    log_p = jax.nn.log_softmax(scores.astype(jnp.float32) / temperature, axis=-1)
    return -jnp.sum(targets * log_p, axis=-1)


def cross_view_nats(targets: jax.Array, scores: jax.Array, local: jax.Array | None,
                    temperature: float) -> jax.Array:
    """Return the nats of an image: the mean over pairs of a target and another crop, summed over B.

    Every pair weighs the same: with two global crops and V local ones, 1 / (2 + 2 V).

    Args:
        targets: [B, 2, K] of the global crops, by the teacher.
        scores: [B, 2, K] of the global crops, by the student.
        local: [B, V, K] of local crops, by the student; none in networks that see one size only.
        temperature: the student's.
    """
    total, pairs = jnp.sum(nats(targets[:, ::-1], scores, temperature)), 2
    if local is not None:
        both = jnp.sum(targets, axis=1, keepdims=True)
        total += jnp.sum(nats(both, local, temperature))
        pairs += 2 * local.shape[1]
    return total / pairs


def masked_nats(targets: jax.Array, scores: jax.Array, weights: jax.Array, temperature: float,
                ) -> jax.Array:
    """Return the mean nats over a crop's hidden patches, summed over crops; none count as zero.

    Args:
        targets: [..., M, K], by the teacher, which sees all patches.
        scores: [..., M, K], by the student.
        weights: float32 [..., M], 1 where a patch was hidden.
        temperature: the student's.
    """
    total = jnp.sum(nats(targets, scores, temperature) * weights, axis=-1)
    return jnp.sum(total / jnp.maximum(jnp.sum(weights, axis=-1), 1))


def held(params: PyTree, step: jax.Array, steps: int) -> PyTree:
    """Return params whose prototypes get no gradient before `steps`.

    The targets of a random network would pull all prototypes together ("freeze the last layer").
    Weight decay goes on, but cosines do not depend on their length.
    """
    def one(path: tuple, w: jax.Array) -> jax.Array:
        if getattr(path[-1], "key", None) != "w_prototypes":
            return w
        return jnp.where(step < steps, jax.lax.stop_gradient(w), w)

    return jax.tree_util.tree_map_with_path(one, params) if steps else params
