"""AdamW with global-norm clipping, Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101."""

import re

import jax
import optax

from ssljax.core.tree import leaf_name
from ssljax.core.types import PyTree

TINY = {"lr": 1e-2}


def make(schedule: optax.Schedule, *, lr: float, b1: float = 0.9, b2: float = 0.999,
         eps: float = 1e-8, weight_decay: float = 0.0, clip_norm: float = 0.0,
         no_decay: str = r"(scale|bias|b_\w+|\w*token)") -> optax.GradientTransformation:
    """Return the optimizer.

    Args:
        schedule: step -> fraction of lr.
        lr: peak learning rate.
        b1: decay of the gradient's mean.
        b2: decay of the gradient's square.
        eps: added to the root of the second moment.
        weight_decay: decoupled, multiplied by the learning rate.
        clip_norm: largest global norm of the gradient; 0 does not clip.
        no_decay: weights whose name matches this whole regular expression are not decayed:
            norms, biases and learned tokens, as the papers of this repo's recipes do.
    """
    def decayed(params: PyTree) -> PyTree:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: re.fullmatch(no_decay, leaf_name(path)) is None, params)

    return optax.chain(
        optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity(),
        optax.scale_by_adam(b1, b2, eps),
        optax.add_decayed_weights(weight_decay, decayed),
        optax.scale_by_learning_rate(lambda step: lr * schedule(step)))
