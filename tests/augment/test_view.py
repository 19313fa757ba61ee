"""One view: the steps in their order, and numbers that serve several views."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.augment.blur import random_blur
from ssljax.augment.crop import random_crop
from ssljax.augment.flip import random_flip
from ssljax.augment.grayscale import random_grayscale
from ssljax.augment.jitter import random_jitter
from ssljax.augment.solarise import random_solarise
from ssljax.augment.view import View, of_each, random_view, strengths_of

IMAGE = jnp.asarray(np.random.default_rng(0).random((12, 12, 3)), jnp.float32)
ALL = View(8, (0.2, 1.0), "bilinear", 1.0, (0.4, 0.4, 0.2, 0.1), 1.0, 1.0, 1.0, 1.0)
NONE = View(12, (0.2, 1.0), "bilinear", 0.0, (0.4, 0.4, 0.2, 0.1), 0.0, 0.0, 0.0, 0.0)


def test_steps_follow_each_other_with_keys_of_their_own():
    keys = jax.random.split(jax.random.key(3), 6)
    image = random_crop(keys[0], IMAGE, size=8, areas=ALL.areas)
    image = random_flip(keys[1], image, probability=1.0)
    image = random_jitter(keys[2], image, strengths=ALL.jitter, probability=1.0)
    image = random_grayscale(keys[3], image, probability=1.0)
    image = random_blur(keys[4], image, probability=1.0)
    expected = random_solarise(keys[5], image, probability=1.0)
    np.testing.assert_allclose(jax.jit(lambda k: random_view(k, IMAGE, ALL))(jax.random.key(3)),
                               expected, atol=1e-5)


def test_a_crop_that_nothing_happens_to_comes_back():
    made = random_view(jax.random.key(0), IMAGE, NONE, cropped=True)
    np.testing.assert_array_equal(made, IMAGE)


def test_one_strength_scales_simclrs_and_four_are_themselves():
    np.testing.assert_allclose(strengths_of(0.5), (0.4, 0.4, 0.4, 0.1))
    assert strengths_of([0.4, 0.4, 0.2, 0.1]) == (0.4, 0.4, 0.2, 0.1)
    assert of_each("blur_probability", 0.5, 3) == (0.5, 0.5, 0.5)
    assert of_each("blur_probability", [1, 0.1], 2) == (1, 0.1)


def test_what_never_happens_costs_no_operation():
    operations = [len(jax.make_jaxpr(lambda k, v=v: random_view(k, IMAGE, v, cropped=True))(
        jax.random.key(0)).jaxpr.eqns) for v in (NONE, NONE._replace(blur_probability=0.5))]
    assert operations[0] < operations[1]


def test_a_hue_beyond_half_the_circle_is_refused():
    with pytest.raises(ValueError, match="hue at most 0.5"):
        strengths_of(3.0)
