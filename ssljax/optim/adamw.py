"""AdamW, Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101 (algorithm 2).

The moments follow their weight's shape and layout.
"""

import optax

from ssljax.core.errors import ConfigError
from ssljax.optim.steps import NO_DECAY, decay_and_descend

TINY = {"lr": 1e-2}


def make(schedule: optax.Schedule, *, lr: float, b1: float = 0.9, b2: float = 0.999,
         eps: float = 1e-8, weight_decay: float = 0.0,
         final_weight_decay: float | None = None, no_decay: str = NO_DECAY, total_steps: int = 0,
         ) -> optax.GradientTransformation:
    """Return the rule.

    Args:
        schedule: step -> fraction of lr.
        lr: peak learning rate.
        b1: decay of the gradient's mean.
        b2: decay of the gradient's square.
        eps: added to the root of the second moment.
        weight_decay: decoupled, multiplied by the learning rate.
        final_weight_decay: where half a cosine brings weight_decay over the run, as in DINO
            (.04 to .4), https://arxiv.org/abs/2104.14294; it stays where it is unless told.
        no_decay: names of weights that are not decayed, a regular expression.
        total_steps: of the run, which supplies it.

    Raises:
        ConfigError: a final decay without a first one, or without a length.
    """
    if final_weight_decay is not None:
        weight_decay = rising(weight_decay, final_weight_decay, total_steps)
    return optax.chain(optax.scale_by_adam(b1, b2, eps),
                       decay_and_descend(schedule, lr, weight_decay, no_decay))


def rising(start: float, end: float, total_steps: int) -> optax.Schedule:
    """Return step -> weight decay, half a cosine from `start` to `end` at `total_steps`."""
    if start <= 0 or total_steps < 1:
        # A group that only sets weight_decay = 0 would otherwise decay after all.
        raise ConfigError(f"adamw goes from weight_decay {start} to final_weight_decay {end} in "
                          f"{total_steps} steps; expected a first decay above 0 and a run's "
                          "length. Where nothing decays leave final_weight_decay = None.")
    cosine = optax.cosine_decay_schedule(1.0, total_steps)
    return lambda step: end + (start - end) * cosine(step)
