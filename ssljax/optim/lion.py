"""Lion, the sign of an interpolated momentum, Chen et al. 2023, https://arxiv.org/abs/2302.06675.

Algorithm 2: c = b1 m + (1 - b1) g, w moves by sign(c), m = b2 m + (1 - b2) g. Learning rates are
3 to 10 times smaller than AdamW's, and weight decay larger by the same factor (section 5).
"""

import optax

from ssljax.optim.steps import NO_DECAY, decay_and_descend

TINY = {"lr": 3e-3}


def make(schedule: optax.Schedule, *, lr: float, b1: float = 0.9, b2: float = 0.99,
         weight_decay: float = 0.0, no_decay: str = NO_DECAY) -> optax.GradientTransformation:
    """Return the rule; its one momentum halves AdamW's state.

    Args:
        schedule: step -> fraction of lr.
        lr: peak learning rate.
        b1: share of the momentum in the direction.
        b2: decay of the momentum.
        weight_decay: decoupled, multiplied by the learning rate.
        no_decay: names of weights that are not decayed, a regular expression.
    """
    return optax.chain(optax.scale_by_lion(b1, b2),
                       decay_and_descend(schedule, lr, weight_decay, no_decay))
