"""What every rule ends with: decoupled weight decay, then the learning rate of the step.

Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101, equation of algorithm 2, line 12:
w <- w - lr * schedule(t) * (direction + weight_decay * w).
"""

import re
from collections.abc import Callable

import jax
import optax

from ssljax.core.tree import leaf_name
from ssljax.core.types import PyTree

# Norms, biases, layer scales, learned tokens and the scale and bias of similarities: not decayed,
# nor scaled by a trust ratio, as the papers of this repository's recipes do. Matched against the
# whole last name of a weight.
NO_DECAY = r"(\w*scale|\w*bias|b_\w+|gamma_\w+|\w*tokens?)"


def all_but(names: str) -> Callable[[PyTree], PyTree]:
    """Return tree -> tree of bool: False where a weight's name matches the regular expression."""
    return lambda tree: jax.tree_util.tree_map_with_path(
        lambda path, _: re.fullmatch(names, leaf_name(path)) is None, tree)


def descend(schedule: optax.Schedule, lr: float) -> optax.GradientTransformation:
    """Multiply the direction by the step's learning rate, and turn it downhill."""
    return optax.scale_by_learning_rate(lambda step: lr * schedule(step))


def decay_and_descend(schedule: optax.Schedule, lr: float, weight_decay: float | optax.Schedule,
                      no_decay: str) -> optax.GradientTransformation:
    """Add `weight_decay`, which may depend on the step, times what decays, and descend."""
    return optax.chain(optax.add_decayed_weights(weight_decay, all_but(no_decay)),
                       descend(schedule, lr))
