"""Adafactor, second moments by rows and columns, Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235.

Algorithm 5, without its relative step sizes: the schedule is this repository's. A matrix of m by n
keeps m + n numbers instead of Adam's 2 m n. Its row and column statistics are laid out along the
mesh axes of the dimensions they keep (train/layout.py).
"""

import optax

from ssljax.core.sharding import automatic
from ssljax.optim.layers import per_layer
from ssljax.optim.steps import NO_DECAY, decay_and_descend

TINY = {"lr": 3e-2, "min_factored": 16}


def make(schedule: optax.Schedule, *, lr: float, decay: float = 0.8, clip_rms: float = 1.0,
         relative: bool = True, min_factored: int = 128, eps: float = 1e-30,
         weight_decay: float = 0.0, no_decay: str = NO_DECAY) -> optax.GradientTransformation:
    """Return the rule.

    Args:
        schedule: step -> fraction of lr.
        lr: peak learning rate; 1e-2 is usual with `relative`, and AdamW's without.
        decay: the second moment's decay at step t is 1 - t ** -decay.
        clip_rms: largest root mean square of a layer's update, before the learning rate.
        relative: multiply the update by the root mean square of the layer, at least 1e-3.
        min_factored: weights are factored over their two longest dimensions if both are at least
            this long; others keep a full second moment.
        eps: added to the squared gradient.
        weight_decay: decoupled, multiplied by the learning rate.
        no_decay: names of weights that are not decayed, a regular expression.
    """
    factored = optax.scale_by_factored_rms(decay_rate=decay, min_dim_size_to_factor=min_factored,
                                           epsilon=eps)
    scale = per_layer(optax.scale_by_param_block_rms()) if relative else optax.identity()
    return optax.chain(
        optax.GradientTransformation(factored.init, automatic(factored.update)),
        per_layer(optax.clip_by_block_rms(clip_rms)), scale,
        decay_and_descend(schedule, lr, weight_decay, no_decay))
