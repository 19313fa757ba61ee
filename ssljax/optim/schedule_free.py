"""Schedule-free AdamW, Defazio et al. 2024, https://arxiv.org/abs/2405.15682.

Section 3: gradients are taken at y = (1 - b1) z + b1 x, z follows AdamW without momentum, and x is
the average of the z, weighted by the squared learning rate. The weights being trained are y;
evaluation and export use x (optim.average.evaluation_params). Meant for the `constant` schedule.
"""

import optax
from optax.contrib import schedule_free

from ssljax.optim.steps import NO_DECAY, decay_and_descend

TINY = {"lr": 1e-2}


def make(schedule: optax.Schedule, *, lr: float, b1: float = 0.9, b2: float = 0.999,
         eps: float = 1e-8, weight_decay: float = 0.0, no_decay: str = NO_DECAY,
         ) -> optax.GradientTransformation:
    """Return the rule.

    Args:
        schedule: step -> fraction of lr; warm up, then hold.
        lr: peak learning rate; 1 to 10 times AdamW's (section 4).
        b1: share of the average in the point of the gradient; above 0.
        b2: decay of the gradient's square.
        eps: added to the root of the second moment.
        weight_decay: decoupled, at y, multiplied by the learning rate.
        no_decay: names of weights that are not decayed, a regular expression.
    """
    base = optax.chain(
        optax.scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        decay_and_descend(schedule, lr, weight_decay, no_decay))
    # Optax counts the wrapper's steps from 1 and the base's from 0.
    return schedule_free(base, lambda step: lr * schedule(step - 1), b1=b1)
