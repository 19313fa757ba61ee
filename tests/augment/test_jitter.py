"""Colour jitter against the standard library's colour system and plain NumPy."""

import colorsys
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.augment import jitter

RNG = np.random.default_rng(0)
IMAGE = RNG.random((4, 5, 3)).astype(np.float32)
GREY = IMAGE[..., :1]


def reference(operation: int, image: np.ndarray, amount: float) -> np.ndarray:
    """Brightness, contrast, saturation or hue of one image, as torchvision defines them."""
    luma = image @ np.array([0.299, 0.587, 0.114]) if image.shape[-1] == 3 else image[..., 0]
    if operation == 3:
        pixels = [colorsys.rgb_to_hsv(*map(float, p)) for p in image.reshape(-1, 3)]
        moved = [colorsys.hsv_to_rgb((h + amount) % 1, s, v) for h, s, v in pixels]
        return np.array(moved).reshape(image.shape)
    other = (0.0, luma.mean(), luma[..., None])[operation]
    return np.clip(amount * image + (1 - amount) * other, 0, 1)


@pytest.mark.parametrize("shift", [-0.5, -0.17, 0.0, 0.08, 0.33, 0.5])
def test_hue_equals_the_colour_circle(shift):
    np.testing.assert_allclose(jitter.hue(jnp.asarray(IMAGE), shift), reference(3, IMAGE, shift),
                               atol=1e-5)


def test_hue_leaves_grey_black_and_white_alone():
    flat = jnp.array([[[0.0] * 3, [0.4] * 3, [1.0] * 3]])
    np.testing.assert_array_equal(jitter.hue(flat, 0.3), flat)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_operations_run_in_the_order_given(order):
    amounts = np.array([1.3, 0.6, 1.4, 0.1], np.float32)
    expected = IMAGE.astype(np.float64)
    for operation in order:
        expected = reference(operation, expected, float(amounts[operation]))
    changed = jitter.apply_in_order(jnp.asarray(IMAGE), jnp.array(order), jnp.asarray(amounts))
    np.testing.assert_allclose(changed, expected, atol=2e-5)


def test_the_order_matters():
    amounts = jnp.array([1.5, 0.4, 1.0, 0.0])
    ahead, back = (jitter.apply_in_order(jnp.asarray(IMAGE), jnp.array(order), amounts)
                   for order in ((0, 1, 2, 3), (1, 0, 2, 3)))
    assert np.abs(ahead - back).max() > 0.05


@pytest.mark.parametrize("image", [IMAGE, GREY], ids=["colour", "grey"])
def test_random_jitter_is_some_order_of_amounts_within_the_strengths(image):
    """Every draw equals the reference for exactly the amounts and order that its key gives."""
    strengths, count = (0.4, 0.3, 0.2, 0.1), 4 if image.shape[-1] == 3 else 2
    orders = set()
    for key in jax.random.split(jax.random.key(0), 12):
        _, k_order, k_amounts = jax.random.split(key, 3)
        uniform = np.asarray(jax.random.uniform(k_amounts, (count,)), np.float64)
        order = np.asarray(jax.random.permutation(k_order, count))
        orders.add(tuple(order))
        expected = image.astype(np.float64)
        for i in order:
            spread, centre = strengths[i], 0 if i == 3 else 1
            expected = reference(i, expected, centre + spread * (2 * uniform[i] - 1))
        changed = jitter.random_jitter(key, jnp.asarray(image), strengths=strengths,
                                       probability=1.0)
        np.testing.assert_allclose(changed, expected, atol=2e-5)
    assert len(orders) > 1


def test_probability_zero_changes_nothing():
    same = jitter.random_jitter(jax.random.key(0), jnp.asarray(IMAGE), strengths=(1, 1, 1, 0.5),
                                probability=0.0)
    np.testing.assert_array_equal(same, IMAGE)


def test_strong_jitter_stays_between_black_and_white():
    keys = jax.random.split(jax.random.key(0), 50)
    changed = jax.vmap(lambda k: jitter.random_jitter(
        k, jnp.asarray(IMAGE), strengths=(2.0, 2.0, 2.0, 0.5)))(keys)
    assert changed.min() >= 0
    assert changed.max() <= 1
