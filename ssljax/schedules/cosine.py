"""Linear warm-up, then half a cosine down, Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983."""

import optax

TINY = {"warmup_steps": 2}


def make(total_steps: int, *, warmup_steps: int = 0, final_fraction: float = 0.0) -> optax.Schedule:
    """Return step -> fraction of the peak learning rate.

    Args:
        total_steps: the step at which `final_fraction` is reached.
        warmup_steps: steps of linear growth from 0; at most total_steps.
        final_fraction: what is left of the peak at the end.
    """
    return optax.warmup_cosine_decay_schedule(
        0.0 if warmup_steps else 1.0, 1.0, min(warmup_steps, total_steps - 1),
        max(total_steps, 2), final_fraction)
