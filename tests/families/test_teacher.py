"""Teachers follow by the formula, and never see a gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.families.teacher import cosine_momentum, ema, frozen, linear_momentum


def test_the_average_is_the_formula_and_stays_float32():
    teacher = {"a": jnp.array([1.0, 2.0]), "b": {"c": jnp.array(4.0)}}
    student = jax.tree.map(lambda x: (3 * x + 1).astype(jnp.bfloat16), teacher)
    moved = ema(teacher, student, 0.75)
    np.testing.assert_allclose(moved["a"], [0.75 * 1 + 0.25 * 4, 0.75 * 2 + 0.25 * 7])
    assert moved["b"]["c"] == 0.75 * 4 + 0.25 * 13
    assert moved["a"].dtype == jnp.float32


def test_it_copies_at_momentum_zero_stays_at_one_and_reaches_a_student_that_rests():
    teacher, student = jnp.zeros(3), jnp.arange(3.0)
    np.testing.assert_array_equal(ema(teacher, student, 0.0), student)
    np.testing.assert_array_equal(ema(teacher, student, 1.0), teacher)
    for _ in range(100):
        teacher = ema(teacher, student, 0.9)
    np.testing.assert_allclose(teacher, student * (1 - 0.9**100), rtol=1e-5)


def test_cosine_rises_from_its_base_to_one_and_stays():
    momentum = cosine_momentum(0.96, 200)
    assert float(momentum(0)) == pytest.approx(0.96)
    assert float(momentum(100)) == pytest.approx(0.98)
    assert float(momentum(50)) == pytest.approx(1 - 0.04 * (np.cos(np.pi / 4) + 1) / 2)
    assert float(momentum(200)) == float(momentum(300)) == 1


def test_linear_rises_in_equal_steps_and_stays():
    momentum = linear_momentum(0.9, 1.0, 10)
    np.testing.assert_allclose([momentum(t) for t in (0, 5, 10, 20)], [0.9, 0.95, 1, 1], rtol=1e-6)


def test_frozen_weights_have_no_gradient_and_the_dtype_they_are_told():
    tree, like = {"w": jnp.ones(2)}, {"w": jnp.ones(2, jnp.bfloat16)}
    assert frozen(tree, like=like)["w"].dtype == jnp.bfloat16
    grad = jax.grad(lambda t: jnp.sum(frozen(t)["w"] * t["w"]))(tree)
    np.testing.assert_array_equal(grad["w"], [1, 1])


@pytest.mark.parametrize("momentum", [-0.1, 1.1])
def test_a_momentum_outside_zero_to_one_is_refused(momentum):
    with pytest.raises(ConfigError, match="teacher momentum"):
        cosine_momentum(momentum, 10)
