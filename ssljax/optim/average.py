"""The weights that are judged: an exponential moving average of the trained ones, or others.

Polyak and Juditsky 1992, https://doi.org/10.1137/0330046; the decay grows with the steps as
min(decay, (1 + t) / (10 + t)), so that the average forgets the initial weights (the form of
TensorFlow's ExponentialMovingAverage). The average lives in opt_state: a rejected step leaves it
alone, and checkpoints hold it. It moves after the optimizer's step and before the objective's
`update`, which therefore never touches it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax.contrib import ScheduleFreeState, schedule_free_eval_params

from ssljax.core.tree import named_leaves
from ssljax.core.types import Params, PyTree


class AverageState(NamedTuple):
    """The average of the parameters, beside the state of what moves them."""

    count: jax.Array       # int32 []
    average: Params
    inner: PyTree


def averaged(tx: optax.GradientTransformation, decay: float) -> optax.GradientTransformation:
    """Return `tx` with an average of the parameters it has moved."""
    def init(params: Params) -> AverageState:
        # A copy: a donated state may not hold one buffer twice.
        return AverageState(jnp.zeros([], jnp.int32), jax.tree.map(jnp.copy, params),
                            tx.init(params))

    def update(grads: PyTree, state: AverageState, params: Params) -> tuple[PyTree, AverageState]:
        updates, inner = tx.update(grads, state.inner, params)
        moved = optax.apply_updates(params, updates)
        share = 1 - jnp.minimum(decay, (1 + state.count) / (10 + state.count))
        average = optax.incremental_update(moved, state.average, share)
        return updates, AverageState(state.count + 1, average, inner)

    return optax.GradientTransformation(init, update)


def has_evaluation_params(opt_state: PyTree) -> bool:
    """Say whether `evaluation_params` would read the state; shapes will do."""
    return bool(states_of(AverageState, opt_state) or states_of(ScheduleFreeState, opt_state))


def evaluation_params(opt_state: PyTree, params: Params) -> Params:
    """Return the weights to judge, export and serve.

    The moving average if the optimizer keeps one, else x of schedule-free optimization for the
    weights that it moves, and the trained weights for all others.
    """
    averages = states_of(AverageState, opt_state)
    if averages:
        return averages[0].average
    judged: dict[str, jax.Array] = {}
    trained = named_leaves(params)
    for state in states_of(ScheduleFreeState, opt_state):
        z = named_leaves(state.z)
        judged |= schedule_free_eval_params(state._replace(z=z), {n: trained[n] for n in z})
    leaves = [judged.get(name, leaf) for name, leaf in trained.items()]
    return jax.tree.unflatten(jax.tree.structure(params), leaves)


def states_of(kind: type, opt_state: PyTree) -> list[Any]:
    """Return the states of a kind inside an optimizer's state."""
    nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, kind))
    return [node for node in nodes if isinstance(node, kind)]
