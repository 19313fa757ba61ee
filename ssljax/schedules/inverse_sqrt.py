"""Linear warm-up, then 1 / sqrt(step).

Equation 3 of Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; with a linear cooldown at the
end as in Zhai et al. 2022, https://arxiv.org/abs/2106.04560 (section 3.5): one long run gives many
finished ones, each by its own cooldown.
"""

import jax
import jax.numpy as jnp
import optax

TINY = {"warmup_steps": 2, "cooldown_fraction": 0.5}


def make(total_steps: int, *, warmup_steps: int, cooldown_fraction: float = 0.0,
         final_fraction: float = 0.0) -> optax.Schedule:
    """Return step -> fraction of the peak learning rate.

    Args:
        total_steps: the step at which a cooldown reaches `final_fraction`.
        warmup_steps: steps of linear growth from 0, at least 1; at step t after them the fraction
            is sqrt(warmup_steps / t).
        cooldown_fraction: share of all steps over which the fraction is brought down; 0 for none.
        final_fraction: what the cooldown leaves of the fraction that it started from.
    """
    warmup_steps = max(1, warmup_steps)
    start = max(warmup_steps, total_steps - round(cooldown_fraction * total_steps))

    def fraction(step: jax.typing.ArrayLike) -> jax.Array:
        step = jnp.asarray(step, jnp.float32)
        rise = step / warmup_steps
        held = jnp.minimum(jnp.maximum(step, 1.0), start if cooldown_fraction else jnp.inf)
        fall = jnp.sqrt(warmup_steps / jnp.maximum(held, warmup_steps))
        done = jnp.clip((step - start) / max(1, total_steps - start), 0, 1)
        cooled = 1 - (1 - final_fraction) * done if cooldown_fraction else 1.0
        return jnp.minimum(rise, fall * cooled)

    return fraction
