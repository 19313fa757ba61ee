"""Schedules against their formulas."""

import numpy as np
import pytest

from ssljax.core.config import resolve


def values(steps: int, **spec) -> np.ndarray:
    schedule = resolve("schedules", spec, steps)
    return np.array([float(schedule(t)) for t in range(steps + 1)])


def test_inverse_sqrt_is_the_formula_of_the_transformer():
    t = np.arange(1, 101)
    expected = 16**0.5 * np.minimum(t**-0.5, t * 16**-1.5)
    np.testing.assert_allclose(values(100, name="inverse_sqrt", warmup_steps=16)[1:], expected,
                               rtol=1e-6)


def test_a_cooldown_leaves_the_steps_before_it_alone():
    plain = values(100, name="inverse_sqrt", warmup_steps=4)
    cooled = values(100, name="inverse_sqrt", warmup_steps=4, cooldown_fraction=0.25,
                    final_fraction=0.1)
    np.testing.assert_array_equal(cooled[:76], plain[:76])
    np.testing.assert_allclose(np.diff(cooled[75:], 2), 0, atol=1e-6)       # a straight line
    assert cooled[100] == pytest.approx(0.1 * plain[75])


def test_constant_holds_what_the_warm_up_reached():
    np.testing.assert_allclose(values(8, name="constant", warmup_steps=4),
                               [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1])
    assert (values(3, name="constant") == 1).all()
