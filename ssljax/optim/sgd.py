"""Stochastic gradient descent with momentum, as MoCo, SimSiam and most residual networks train.

v = momentum v + g + weight_decay w, w moves by -lr v: Sutskever et al. 2013,
https://proceedings.mlr.press/v28/sutskever13.html, with the learning rate outside the velocity. The
decay is part of the gradient (an L2 penalty), not decoupled.
"""

import optax

from ssljax.optim.steps import NO_DECAY, all_but, descend

TINY = {"lr": 0.1}


def make(schedule: optax.Schedule, *, lr: float, momentum: float = 0.9, nesterov: bool = False,
         weight_decay: float = 0.0, no_decay: str = NO_DECAY) -> optax.GradientTransformation:
    """Return the rule.

    Args:
        schedule: step -> fraction of lr.
        lr: peak learning rate; MoCo's is 0.03 for every 256 rows of a batch.
        momentum: decay of the velocity.
        nesterov: look ahead along the velocity.
        weight_decay: added to the gradient, times the weight.
        no_decay: names of weights that do not decay, a regular expression.
    """
    return optax.chain(optax.add_decayed_weights(weight_decay, all_but(no_decay)),
                       optax.trace(momentum, nesterov), descend(schedule, lr))
