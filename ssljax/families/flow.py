"""Flows along straight lines from noise to data: what is learned, and how to follow it.

Lipman et al. 2022, https://arxiv.org/abs/2210.02747 (the conditional optimal transport path with no
noise left at its end), and rectified flow, Liu et al. 2022, https://arxiv.org/abs/2209.03003. Time
is 0 at the noise and 1 at the data. A network's velocity v(x, t) is the mean of data - noise over
all lines through x at t; integrating it carries noise to data.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

Solver = Literal["euler", "heun"]
Velocity = Callable[[jax.Array, jax.Array], jax.Array]      # (x [n, ...], time f32 [n]) -> [n, ...]


def place(noise: jax.Array, data: jax.Array, time: jax.Array) -> jax.Array:
    """Return where the lines from noise to data [B, ...] are at time f32 [B]."""
    t = time.reshape(-1, *(1,) * (data.ndim - 1))
    return (1 - t) * noise + t * data


def velocity_target(noise: jax.Array, data: jax.Array) -> jax.Array:
    """Return the velocity of the lines, the same at all times."""
    return data - noise


def guided(with_label: Velocity, without: Velocity, scale: float) -> Velocity:
    """Return the velocity of classifier-free guidance, without + scale (with_label - without).

    Ho and Salimans 2022, https://arxiv.org/abs/2207.12598; their w is scale - 1. A scale of 1 is
    the conditional velocity itself, at half the cost.
    """
    if scale == 1:
        return with_label

    def velocity(x: jax.Array, time: jax.Array) -> jax.Array:
        base = without(x, time)
        return base + scale * (with_label(x, time) - base)

    return velocity


def integrate(velocity: Velocity, x: jax.Array, *, steps: int, solver: Solver) -> jax.Array:
    """Follow the velocity from time 0 to 1 in equal steps.

    Args:
        velocity: evaluated once a step by Euler's method and twice by Heun's, whose error falls
            with the square of the step.
        x: [n, ...], where to start.
        steps: how many.
        solver: the method.
    """
    size = 1 / steps

    def times(t: jax.Array) -> jax.Array:
        return jnp.full(x.shape[:1], t, jnp.float32)

    def euler(i: jax.Array, x: jax.Array) -> jax.Array:
        return x + size * velocity(x, times(i * size))

    def heun(i: jax.Array, x: jax.Array) -> jax.Array:
        first = velocity(x, times(i * size))
        second = velocity(x + size * first, times((i + 1) * size))
        return x + size / 2 * (first + second)

    return jax.lax.fori_loop(0, steps, {"euler": euler, "heun": heun}[solver], x)
