"""Which steps are taken: those that are finite and no spike, decided on the device.

A step is a spike when its gradient norm exceeds `spike_factor` times the running mean of the
accepted ones. The norm and not the loss is watched: it moves before the loss does, and losses of
some methods are negative or change their scale. In the spirit of ZClip, Kumar et al. 2025,
https://arxiv.org/abs/2504.02507, but the step is refused rather than clipped, so that it can be
replayed and looked at.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

DECAY = 0.98        # of the running mean: about the last 50 accepted steps
WARMUP = 20         # accepted steps before a spike can be told from the fall of the first norms


class Guard(NamedTuple):
    """What a step remembers to judge the next; part of the training state."""

    grad_norm: jax.Array     # float32 [], running mean over accepted steps
    accepted: jax.Array      # int32 []
    rejected: jax.Array      # int32 []
    in_a_row: jax.Array      # int32 [], rejected since the last accepted step


def start() -> Guard:
    """Return the guard of step 0."""
    return Guard(jnp.float32(0), jnp.int32(0), jnp.int32(0), jnp.int32(0))


def limit(guard: Guard, spike_factor: float) -> jax.Array:
    """Return the largest gradient norm that is no spike, float32 []; infinite while it is young."""
    if not spike_factor:
        return jnp.float32(jnp.inf)
    return jnp.where(guard.accepted >= WARMUP, spike_factor * guard.grad_norm, jnp.inf)


def judge(guard: Guard, loss: jax.Array, grad_norm: jax.Array, spike_factor: float,
          ) -> tuple[jax.Array, Guard]:
    """Say whether a step is taken, bool [], and return the guard after it.

    Args:
        guard: of the steps before.
        loss: float32 [].
        grad_norm: global norm, float32 [].
        spike_factor: see the module; 0 refuses only what is not finite.
    """
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    taken = finite & (grad_norm <= limit(guard, spike_factor))
    # A mean over all accepted steps at first, an exponential one later: no bias to correct.
    decay = jnp.minimum(DECAY, guard.accepted / (guard.accepted + 1))
    mean = decay * guard.grad_norm + (1 - decay) * grad_norm
    after = Guard(jnp.where(taken, mean, guard.grad_norm), guard.accepted + taken,
                  guard.rejected + ~taken, jnp.where(taken, 0, guard.in_a_row + 1))
    return taken, after
