"""Linear warm-up, then the peak: for schedule-free optimizers, and runs without an end."""

import optax

TINY = {"warmup_steps": 2}


def make(total_steps: int, *, warmup_steps: int = 0) -> optax.Schedule:
    """Return step -> fraction of the peak learning rate.

    Args:
        total_steps: of the run; the schedule does not depend on it.
        warmup_steps: steps of linear growth from 0.
    """
    del total_steps
    return optax.linear_schedule(0.0 if warmup_steps else 1.0, 1.0, warmup_steps)
