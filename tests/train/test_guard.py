"""The guard: what is refused, and what it remembers."""

import math

import jax.numpy as jnp
import pytest

from ssljax.train import guard


def feed(norms, *, spike_factor=10.0, losses=None):
    """Return which steps of a series are taken, and the guard after them."""
    now, taken = guard.start(), []
    for i, norm in enumerate(norms):
        loss = losses[i] if losses else 1.0
        ok, now = guard.judge(now, jnp.float32(loss), jnp.float32(norm), spike_factor)
        taken.append(bool(ok))
    return taken, now


def test_what_is_not_finite_is_refused_at_any_time():
    taken, now = feed([1, math.nan, math.inf, 1, 1], losses=[1, 1, 1, math.nan, -1])
    assert taken == [True, False, False, False, True]
    assert (int(now.accepted), int(now.rejected), int(now.in_a_row)) == (2, 3, 0)


def test_a_spike_is_refused_once_there_is_a_mean_to_tell_it_by():
    early, _ = feed([1.0] * 3 + [100.0])
    assert early[-1]
    calm = [1.0] * guard.WARMUP
    taken, now = feed([*calm, 9.9, 30.0, 1.0])
    assert taken[-3:] == [True, False, True]
    assert float(now.grad_norm) < 2            # the spike did not raise the bar


def test_without_a_factor_only_finiteness_counts():
    taken, _ = feed([1.0] * guard.WARMUP + [1e30], spike_factor=0.0)
    assert all(taken)


def test_the_mean_is_plain_at_first_and_exponential_later():
    norms = [1.0, 3.0, 2.0, 6.0]
    _, now = feed(norms, spike_factor=0.0)
    assert float(now.grad_norm) == pytest.approx(sum(norms) / 4)
    many = [float(i % 7) for i in range(200)]
    mean = 0.0
    for i, norm in enumerate(many):
        decay = min(guard.DECAY, i / (i + 1))
        mean = decay * mean + (1 - decay) * norm
    assert float(feed(many, spike_factor=0.0)[1].grad_norm) == pytest.approx(mean, rel=1e-5)


def test_rejected_steps_in_a_row_are_counted():
    _, now = feed([1.0, math.nan, math.nan, math.nan])
    assert int(now.in_a_row) == 3
