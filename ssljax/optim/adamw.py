"""AdamW, Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101 (algorithm 2).

The moments follow their weight's shape and layout.
"""

import optax

from ssljax.optim.steps import NO_DECAY, decay_and_descend

TINY = {"lr": 1e-2}


def make(schedule: optax.Schedule, *, lr: float, b1: float = 0.9, b2: float = 0.999,
         eps: float = 1e-8, weight_decay: float = 0.0, no_decay: str = NO_DECAY,
         ) -> optax.GradientTransformation:
    """Return the rule.

    Args:
        schedule: step -> fraction of lr.
        lr: peak learning rate.
        b1: decay of the gradient's mean.
        b2: decay of the gradient's square.
        eps: added to the root of the second moment.
        weight_decay: decoupled, multiplied by the learning rate.
        no_decay: names of weights that are not decayed, a regular expression.
    """
    return optax.chain(optax.scale_by_adam(b1, b2, eps),
                       decay_and_descend(schedule, lr, weight_decay, no_decay))
