"""The convolutional decoder: where tokens go, and its convolution against a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.models import conv_decoder
from ssljax.nn.conv import correlate

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(8, 3, 3, 4)), RNG.normal(size=(3, 3, 2, 6))


def reference(x: np.ndarray, w: np.ndarray, groups: int) -> np.ndarray:
    b, height, width, channels = x.shape
    out = np.zeros((b, height, width, w.shape[-1]))
    ins, outs = channels // groups, w.shape[-1] // groups
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for i in range(height):
        for j in range(width):
            for g in range(groups):
                window = padded[:, i:i + 3, j:j + 3, g * ins:(g + 1) * ins]
                kernel = w[..., g * outs:(g + 1) * outs]
                out[:, i, j, g * outs:(g + 1) * outs] = np.einsum("buvc,uvcd->bd", window, kernel)
    return out


def value_and_grads(x: jax.Array, w: jax.Array) -> tuple:
    loss = lambda x, w: jnp.sum(correlate(x, w, 1, 1, 2)**2)  # noqa: E731
    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(x, w)


def test_convolution_equals_the_loop():
    got = correlate(jnp.asarray(X), jnp.asarray(W), 1, 1, 2)
    np.testing.assert_allclose(got, reference(X, W, 2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", (AxisType.Auto, AxisType.Explicit))
def test_gradients_are_those_of_one_device_also_where_an_axis_splits_nothing(kind):
    x, w = jnp.asarray(X, jnp.float32), jnp.asarray(W, jnp.float32)
    alone = value_and_grads(x, w)
    with sharding.use_mesh(sharding.make_mesh({"fsdp": 4, "tensor": 2}, kind)):
        split = value_and_grads(x, w)
    for a, b in zip(*map(jax.tree.leaves, (alone, split)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_a_prediction_depends_on_the_patches_around_it_and_not_on_tokens_in_front():
    decoder = conv_decoder.make(**{**conv_decoder.TINY, "depth": 1, "groups": 1})
    visible = jnp.asarray([[0, 15, 5]])
    sequence = jnp.asarray(RNG.normal(size=(1, 4, 8)), jnp.float32)
    params, _ = decoder.init(jax.random.key(0), {"sequence": sequence, "visible": visible})
    slope = jax.jit(jax.jacobian(lambda s: decoder.apply(
        params, {"sequence": s, "visible": visible})["predictions"][0].sum(-1)))(sequence)[:, 0]
    reached = np.abs(np.asarray(slope)).max(-1) > 1e-6                      # [N, 1 + K]
    assert not reached[:, 0].any()
    near = lambda a, b: max(abs(a // 4 - b // 4), abs(a % 4 - b % 4)) <= 1  # noqa: E731
    for column, place in ((1, 0), (2, 15), (3, 5)):
        assert [bool(r) for r in reached[:, column]] == [near(n, place) for n in range(16)]


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match="divide the width"):
        conv_decoder.make(**{**conv_decoder.TINY, "groups": 3})
    decoder = conv_decoder.make(**{**conv_decoder.TINY, "groups": 4})
    inputs = {"sequence": jnp.zeros((1, 2, 6)), "visible": jnp.zeros((1, 2), jnp.int32)}
    with pytest.raises(ConfigError, match="6 features in 4 groups"):
        decoder.init(jax.random.key(0), inputs)
