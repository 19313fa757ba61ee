"""Warm-up, constant, linear decay: MiniCPM, Hu et al. 2024, https://arxiv.org/abs/2404.06395.

The stable phase can be continued from any of its checkpoints; only the decay is tied to the end.
"""

import optax

TINY = {"warmup_steps": 2, "decay_fraction": 0.5}


def make(total_steps: int, *, warmup_steps: int = 0, decay_fraction: float = 0.2,
         final_fraction: float = 0.0) -> optax.Schedule:
    """Return step -> fraction of the peak learning rate.

    Args:
        total_steps: the step at which `final_fraction` is reached.
        warmup_steps: steps of linear growth from 0.
        decay_fraction: share of all steps spent in the last, linear decay.
        final_fraction: what is left of the peak at the end.
    """
    decay_steps = max(1, round(decay_fraction * total_steps))
    start = max(total_steps - decay_steps, warmup_steps)
    return optax.join_schedules(
        [optax.linear_schedule(0.0, 1.0, warmup_steps) if warmup_steps else
         optax.constant_schedule(1.0),
         optax.constant_schedule(1.0), optax.linear_schedule(1.0, final_fraction, decay_steps)],
        [warmup_steps, start])
