"""The one train step of every method."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import split_batch
from ssljax.core.tree import cast_floating
from ssljax.core.types import Batch, Key, Objective, Params, PyTree, TrainState
from ssljax.train.state import with_views

StepMetrics = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]
Sums = tuple[jax.Array, jax.Array, Params, dict[str, Any]]      # loss, weight, grads, metrics


def gradient_sums(objective: Objective, compute_dtype: str) -> Callable[..., tuple[Sums, PyTree]]:
    """Return (params, extra, batch, key) -> ((loss, weight, grads, metrics), extra), all sums.

    Parameters are cast to the compute dtype here and nowhere else; their gradients come back in
    float32 through the cast.
    """
    def loss(params: Params, extra: PyTree, batch: Batch, key: Key) -> tuple[jax.Array, Any]:
        return objective.loss(cast_floating(params, compute_dtype), extra, batch, key)

    def sums(params: Params, extra: PyTree, batch: Batch, key: Key) -> tuple[Sums, PyTree]:
        value, grads = jax.value_and_grad(loss, has_aux=True)(params, extra, batch, key)
        total, (weight, extra, metrics) = value
        return (total, weight, grads, dict(metrics)), extra

    return sums


def accumulated(sums: Callable[..., tuple[Sums, PyTree]], parts: int,
                ) -> Callable[..., tuple[Sums, PyTree]]:
    """Return `sums` over `parts` microbatches: the same numbers, a fraction of the memory.

    Sums add and are divided once by the whole weight, so padding and packing cannot bias the mean.
    """
    def over_parts(params: Params, extra: PyTree, batch: Batch, key: Key) -> tuple[Sums, PyTree]:
        micro = jax.tree.map(lambda x: split_batch(x, parts), batch)
        keys = jax.random.split(key, parts)
        shapes, _ = jax.eval_shape(sums, params, extra, jax.tree.map(lambda x: x[0], micro), key)
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        zeros = (*zeros[:2], jax.tree.map(jnp.zeros_like, params), zeros[3])

        def one(carry: Any, xs: Any) -> tuple[Any, None]:
            total, extra = carry
            new, extra = sums(params, extra, *xs)
            return (jax.tree.map(jnp.add, total, new), extra), None

        return jax.lax.scan(one, (zeros, extra), (micro, keys))[0]

    return over_parts


def make_train_step(objective: Objective, tx: optax.GradientTransformation, *,
                    views: Callable[[Key, Batch], Batch], accumulate: int = 1,
                    compute_dtype: str = "float32") -> TrainStep:
    """Return a pure (state, batch) -> (state, metrics), to be jitted with the state donated.

    A step whose loss or gradient is not finite changes nothing but the step number: parameters,
    optimizer state and `extra` stay together, and `rejected` is 1 in the metrics.

    Args:
        objective: the method.
        tx: the optimizer.
        views: the pretext's device part, of one example.
        accumulate: microbatches a step.
        compute_dtype: of the forward and backward pass; parameters stay float32.

    Raises:
        ConfigError: accumulation with a method whose rows depend on each other.
    """
    if accumulate > 1 and objective.coupled:
        raise ConfigError(f"accumulate = {accumulate}, but this objective compares the rows of a "
                          "batch: microbatches would change the loss. Use accumulate = 1 and a "
                          "smaller batch or more devices.")
    sums = gradient_sums(objective, compute_dtype)
    sums = accumulated(sums, accumulate) if accumulate > 1 else sums

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        batch = with_views(views, state.key, batch)
        key = jax.random.fold_in(state.key, state.step)
        (total, weight, grads, metrics), extra = sums(state.params, state.extra, batch, key)
        scale = 1 / jnp.where(weight > 0, weight, 1)
        loss, grads = total * scale, jax.tree.map(lambda g: g * scale, grads)
        grad_norm = optax.tree.norm(grads)
        accepted = jnp.isfinite(loss) & jnp.isfinite(grad_norm)

        def move() -> tuple[Params, PyTree, PyTree]:
            updates, opt_state = tx.update(grads, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            params, moved = objective.update(params, extra, state.step)
            return params, opt_state, moved

        kept = (state.params, state.opt_state, state.extra)
        params, opt_state, extra = jax.lax.cond(accepted, move, lambda: kept)
        report = {name: s / jnp.where(w > 0, w, 1) for name, (s, w) in metrics.items()}
        report |= {"loss": loss, "grad_norm": grad_norm, "weight": weight,
                   "param_norm": optax.tree.norm(params), "rejected": 1.0 - accepted}
        return state._replace(step=state.step + 1, params=params, opt_state=opt_state,
                              extra=extra), report

    return train_step
