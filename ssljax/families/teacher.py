"""Teachers: copies of a network that follow it as an exponential moving average.

Tarvainen and Valpola 2017, https://arxiv.org/abs/1703.01780. The order that every method here
keeps: the optimizer moves the student, then the teacher moves towards the new student. A teacher
is float32 in `extra["teacher"]` and never sees a gradient.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.types import PyTree

Momentum = Callable[[jax.Array], jax.Array]       # int32 [] step -> float32 []


def ema(teacher: PyTree, student: PyTree, momentum: jax.typing.ArrayLike) -> PyTree:
    """Return momentum * teacher + (1 - momentum) * student, leaf by leaf, in the teacher's dtype.

    Written as a step towards the student: the plain form loses the last bits of both products
    where momentum is 0.9999.
    """
    return jax.tree.map(lambda t, s: t + (1 - momentum) * (s.astype(t.dtype) - t), teacher, student)


def cosine_momentum(base: float, total_steps: int, final: float = 1.0) -> Momentum:
    """Return step -> final - (final - base) (cos(pi step / total_steps) + 1) / 2.

    Section 3.2 of BYOL, https://arxiv.org/abs/2006.07733, where final is 1.
    """
    check(base)
    check(final)

    def momentum(step: jax.Array) -> jax.Array:
        progress = jnp.clip(step / jnp.float32(max(1, total_steps)), 0, 1)
        return final - (final - base) * (jnp.cos(jnp.pi * progress) + 1) / 2

    return momentum


def linear_momentum(start: float, end: float, steps: int) -> Momentum:
    """Return step -> momentum along a line from `start` to `end` at `steps`, and `end` after it.

    I-JEPA (https://arxiv.org/abs/2301.08243) and data2vec (https://arxiv.org/abs/2202.03555).
    """
    check(start)
    check(end)

    def momentum(step: jax.Array) -> jax.Array:
        return start + (end - start) * jnp.clip(step / jnp.float32(max(1, steps)), 0, 1)

    return momentum


def frozen(tree: PyTree, like: PyTree | None = None) -> PyTree:
    """Return a tree through which no gradient flows.

    Args:
        tree: arrays.
        like: a tree of the same structure whose dtypes the result takes: teachers are stored in
            float32 and run in the compute dtype, which the student's weights already have.
    """
    if like is not None:
        tree = jax.tree.map(lambda t, s: t.astype(s.dtype), tree, like)
    return jax.tree.map(jax.lax.stop_gradient, tree)


def check(momentum: float) -> None:
    """Raise ConfigError for a momentum outside [0, 1]."""
    if not 0 <= momentum <= 1:
        raise ConfigError(f"teacher momentum {momentum}: expected 0 (the student itself) to 1 "
                          "(never moves), for example 0.99.")
