"""Flows: targets and solvers against the flow between two Gaussians, which is known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.families.flow import guided, integrate, place, velocity_target

MEAN, DEVIATION = 0.7, 0.3           # of the data; noise is a standard normal


def exact(x, t):
    """Return E[data - noise | x at t]: all are jointly normal, so it is linear in x."""
    t = t.reshape(-1, *(1,) * (x.ndim - 1))
    variance = (1 - t) ** 2 + (t * DEVIATION) ** 2
    slope = (t * DEVIATION**2 - (1 - t)) / variance
    return MEAN + slope * (x - t * MEAN)


@pytest.mark.parametrize("time", [0.1, 0.5, 0.9])
def test_the_best_linear_fit_of_the_targets_is_the_exact_velocity(time):
    rng = np.random.default_rng(0)
    count = 200_000
    noise, data = rng.normal(size=count), MEAN + DEVIATION * rng.normal(size=count)
    times = np.full(count, time)
    x = np.asarray(place(noise, data, times), np.float64)
    wanted = np.asarray(velocity_target(noise, data), np.float64)
    slope, constant = np.polyfit(x, wanted, 1)
    at = np.array([-1.0, 0.0, 1.0])
    np.testing.assert_allclose(slope * at + constant, exact(at, np.full(3, time)), atol=0.03)


def test_lines_begin_at_the_noise_and_end_at_the_data():
    noise, data = np.random.default_rng(1).normal(size=(2, 3, 4, 4, 1))
    assert np.array_equal(place(noise, data, np.zeros(3)), noise)
    assert np.array_equal(place(noise, data, np.ones(3)), data)
    ahead = place(noise, data, np.full(3, 0.75)) - place(noise, data, np.full(3, 0.25))
    np.testing.assert_allclose(2 * ahead, velocity_target(noise, data), rtol=1e-9)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_solvers_reach_the_exact_end_with_their_order(solver, order):
    """The flow between these Gaussians maps x to MEAN + DEVIATION x."""
    with jax.enable_x64(True):
        x = jnp.linspace(-2, 2, 12).reshape(3, 4)
        errors = [float(jnp.abs(integrate(exact, x, steps=n, solver=solver)
                                - (MEAN + DEVIATION * x)).max()) for n in (40, 80, 160)]
    measured = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    np.testing.assert_allclose(measured, order, atol=0.15)
    assert errors[-1] < (0.02 if order == 1 else 2e-4)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_a_straight_line_takes_one_step(solver):
    x, velocity = jnp.ones((2, 3)), jnp.array([[1.0, 2.0, 3.0]] * 2)
    end = integrate(lambda x, t: velocity, x, steps=1, solver=solver)
    np.testing.assert_allclose(end, x + velocity)


def test_guidance_of_one_is_the_conditional_velocity_and_others_extrapolate():
    def label(x, t):
        return 2 * x + t[:, None]

    def none(x, t):
        return -x

    x, t = jnp.array([[1.0, 3.0]]), jnp.array([0.5])
    assert guided(label, none, 1.0) is label
    np.testing.assert_allclose(guided(label, none, 0.0)(x, t), none(x, t))
    np.testing.assert_allclose(guided(label, none, 3.0)(x, t),
                               label(x, t) + 2 * (label(x, t) - none(x, t)))
