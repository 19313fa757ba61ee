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
from ssljax.train.guard import judge
from ssljax.train.layout import Layout
from ssljax.train.norms import block_norms
from ssljax.train.state import with_views

StepMetrics = dict[str, Any]        # name -> float32 []; norms -> {kind: {block: float32}}
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]
Sums = tuple[jax.Array, jax.Array, Params, dict[str, Any]]      # loss, weight, grads, metrics


def gradient_sums(objective: Objective, compute_dtype: str,
                  factor: Callable[[jax.Array], jax.Array] = jnp.ones_like,
                  ) -> Callable[..., tuple[Sums, PyTree]]:
    """Return (params, extra, batch, key) -> ((loss, weight, grads, metrics), extra), all sums.

    Parameters are cast to the compute dtype here and nowhere else; their gradients come back in
    float32 through the cast.

    Args:
        objective: the method.
        compute_dtype: of the forward and backward pass.
        factor: weight -> what loss and gradients are multiplied by, before the backward pass.
    """
    def sums(params: Params, extra: PyTree, batch: Batch, key: Key) -> tuple[Sums, PyTree]:
        def loss(params: Params) -> tuple[jax.Array, Any]:
            return objective.loss(cast_floating(params, compute_dtype), extra, batch, key)

        total, pull, (weight, moved, metrics) = jax.vjp(loss, params, has_aux=True)
        scale = factor(weight)
        grads, = pull(scale)
        return (total * scale, weight, grads, dict(metrics)), moved

    return sums


def reciprocal(weight: jax.Array) -> jax.Array:
    """Return 1 / weight, float32 []; 1 where nothing has weight."""
    return 1 / jnp.where(weight > 0, weight, 1)


def gradient_means(objective: Objective, compute_dtype: str, parts: int = 1,
                   ) -> Callable[..., tuple[Sums, PyTree]]:
    """Return `gradient_sums` with loss and gradients divided by the weight of all `parts`.

    A batch in one part is divided where its backward pass starts, which spares a pass over all
    gradients: 2 % of a step of a GPT of 12M parameters.
    """
    if parts == 1:
        return gradient_sums(objective, compute_dtype, reciprocal)
    sums = accumulated(gradient_sums(objective, compute_dtype), parts)

    def means(*args: Any) -> tuple[Sums, PyTree]:
        (total, weight, grads, metrics), extra = sums(*args)
        scale = reciprocal(weight)
        return (total * scale, weight, jax.tree.map(lambda g: g * scale, grads), metrics), extra

    return means


def accumulated(sums: Callable[..., tuple[Sums, PyTree]], parts: int,
                ) -> Callable[..., tuple[Sums, PyTree]]:
    """Return `sums` over `parts` microbatches: the same numbers, a fraction of the memory.

    Sums add and are divided once by the whole weight, so padding and packing cannot bias the mean.
    Gradients are reduced over data in every part. Taking data by a shard_map around the loop would
    reduce them once, but a loss would then see a device's rows for the batch: random numbers drawn
    by its shape would depend on the mesh, and sums over all devices inside it would count twice.
    The pipeline, whose layers do neither, reduces once.
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


def norms_when(due: jax.Array, tree: PyTree) -> dict[str, jax.Array]:
    """Return the norms of a tree's blocks on the steps that are logged, zeros on all others.

    A pass over all weights is a percent of a small step; the cond spares it where nobody looks.
    """
    shapes = jax.eval_shape(block_norms, tree)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return jax.lax.cond(due, block_norms, lambda _: zeros, tree)


def make_train_step(objective: Objective, tx: optax.GradientTransformation, *,
                    views: Callable[[Key, Batch], Batch], accumulate: int = 1,
                    compute_dtype: str = "float32", spike_factor: float = 0.0,
                    log_steps: int = 1, total_steps: int = 0,
                    layout: Layout | None = None) -> TrainStep:
    """Return a pure (state, batch) -> (state, metrics), to be jitted with the state donated.

    A step whose loss or gradient is not finite, or whose gradient norm is a spike, changes nothing
    but the step number and the guard: parameters, optimizer state and `extra` stay together, and
    `rejected` is 1 in the metrics.

    Args:
        objective: the method.
        tx: the optimizer.
        views: the pretext's device part, of one example.
        accumulate: microbatches a step.
        compute_dtype: of the forward and backward pass; parameters stay float32.
        spike_factor: largest gradient norm over its running mean; 0 does not judge by it.
        log_steps: norms by block are computed every so many steps,
        total_steps: and at this one.
        layout: how the state lies on the mesh, as it was made; ssljax's own weights unless told.

    Raises:
        ConfigError: accumulation with a method whose rows depend on each other.
    """
    if accumulate > 1 and objective.coupled:
        raise ConfigError(f"accumulate = {accumulate}, but this objective compares the rows of a "
                          "batch: microbatches would change the loss. Use accumulate = 1 and a "
                          "smaller batch or more devices.")
    means = gradient_means(objective, compute_dtype, accumulate)
    layout = layout or Layout()

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        batch = with_views(views, state.key, batch)
        key = jax.random.fold_in(state.key, state.step)
        (loss, weight, grads, metrics), extra = means(state.params, state.extra, batch, key)
        # On Auto meshes gradients of a pipeline come back laid out along stage alone.
        grads = layout.as_moments(grads)
        grad_norm, step = optax.tree.norm(grads), state.step + 1
        taken, guard = judge(state.guard, loss, grad_norm, spike_factor)
        due = (step % log_steps == 0) | (step == total_steps)

        def move() -> tuple[Params, PyTree, PyTree, dict[str, jax.Array]]:
            params = layout.as_moments(state.params)
            updates, opt_state = tx.update(grads, state.opt_state, params)
            params = layout.as_weights(optax.apply_updates(params, updates))
            params, moved = objective.update(params, extra, state.step)
            return params, opt_state, moved, norms_when(due, updates)

        def keep() -> tuple[Params, PyTree, PyTree, dict[str, jax.Array]]:
            still = jax.tree.map(jnp.zeros_like, jax.eval_shape(block_norms, grads))
            return state.params, state.opt_state, state.extra, still

        params, opt_state, extra, update_norms = jax.lax.cond(taken, move, keep)
        norms = {"grad_norm": norms_when(due, grads), "update_norm": update_norms,
                 "param_norm": norms_when(due, params)}
        report = {name: s / jnp.where(w > 0, w, 1) for name, (s, w) in metrics.items()}
        report |= {"loss": loss, "grad_norm": grad_norm, "weight": weight, "norms": norms,
                   "rejected": guard.rejected, "in_a_row": guard.in_a_row}
        return state._replace(step=step, params=params, opt_state=opt_state, extra=extra,
                              guard=guard), report

    return train_step
