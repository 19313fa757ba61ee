"""LAMB, Adam with a trust ratio per layer, You et al. 2020, https://arxiv.org/abs/1904.00962.

Algorithm 2 with phi the identity: each layer of each weight moves by lr |w| / |r + wd w| times
(r + wd w), where r is Adam's direction.
"""

import optax

from ssljax.optim.layers import per_layer
from ssljax.optim.steps import NO_DECAY, all_but, descend

TINY = {"lr": 3e-2}


def make(schedule: optax.Schedule, *, lr: float, b1: float = 0.9, b2: float = 0.999,
         eps: float = 1e-6, weight_decay: float = 0.0, no_decay: str = NO_DECAY,
         ) -> optax.GradientTransformation:
    """Return the rule.

    Args:
        schedule: step -> fraction of lr.
        lr: peak learning rate: the relative change of a layer in a step.
        b1: decay of the gradient's mean.
        b2: decay of the gradient's square.
        eps: added to the root of the second moment.
        weight_decay: added to the direction before its norm is taken.
        no_decay: names of weights that are neither decayed nor scaled by the trust ratio, a
            regular expression; they follow Adam, as in the authors' code.
    """
    layers = all_but(no_decay)
    return optax.chain(
        optax.scale_by_adam(b1, b2, eps), optax.add_decayed_weights(weight_decay, layers),
        optax.masked(per_layer(optax.scale_by_trust_ratio()), layers), descend(schedule, lr))
