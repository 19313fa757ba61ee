"""LARS, momentum with a trust ratio per layer, You et al. 2017, https://arxiv.org/abs/1708.03888.

Algorithm 1: v = momentum v + lr trust |w| / |g + wd w| (g + wd w), w moves by -v; the norm of the
sum instead of the sum of norms, as in the code of SimCLR and BYOL.
"""

import optax

from ssljax.optim.layers import per_layer
from ssljax.optim.steps import NO_DECAY, all_but, descend

TINY = {"lr": 5.0, "trust": 1e-2}


def make(schedule: optax.Schedule, *, lr: float, momentum: float = 0.9, trust: float = 1e-3,
         nesterov: bool = False, weight_decay: float = 0.0, no_decay: str = NO_DECAY,
         ) -> optax.GradientTransformation:
    """Return the rule.

    Args:
        schedule: step -> fraction of lr.
        lr: peak learning rate; SimCLR's is 0.3 for every 256 rows of a batch.
        momentum: decay of the velocity, which contains the learning rate.
        trust: relative change of a layer at a learning rate of 1.
        nesterov: look ahead along the velocity.
        weight_decay: added to the gradient before its norm is taken.
        no_decay: names of weights that are neither decayed nor scaled by the trust ratio, a
            regular expression.
    """
    layers = all_but(no_decay)
    ratio = optax.scale_by_trust_ratio(trust_coefficient=trust)
    return optax.chain(
        optax.add_decayed_weights(weight_decay, layers), optax.masked(per_layer(ratio), layers),
        descend(schedule, lr), optax.trace(momentum, nesterov))
