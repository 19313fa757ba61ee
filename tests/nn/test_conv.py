"""Convolutions: an equation, places of patches, and one result whatever the devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from ssljax.core import sharding
from ssljax.nn.conv import as_sequence, conv, correlate, max_pool, products

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 6, 6, 8)).astype(np.float32)
KERNELS = {"3x3": (3, 1, 8, 16), "3x3/2": (3, 2, 8, 16), "1x1": (1, 1, 8, 16),
           "1x1/2": (1, 2, 8, 16), "2x2/2": (2, 2, 8, 16), "depthwise": (5, 1, 1, 8)}


@functools.cache
def kernel(name):
    side, stride, fan_in, features = KERNELS[name]
    w = np.random.default_rng(1).normal(size=(side, side, fan_in, features))
    return jnp.asarray(w, jnp.float32), stride


def reference(x, w, stride):
    """Loop over places and over the kernel, in float64."""
    side, fan_in = w.shape[0], w.shape[2]
    edge = 0 if stride == side else (side - 1) // 2
    wide = np.pad(np.asarray(x, np.float64), ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    places = [range(0, n + 2 * edge - side + 1, stride) for n in x.shape[1:3]]
    y = np.zeros((x.shape[0], *map(len, places), w.shape[3]))
    for r, top in enumerate(places[0]):
        for c, left in enumerate(places[1]):
            window = wide[:, top:top + side, left:left + side]
            y[:, r, c] = (np.einsum("BHWC,HWC->BC", window, w[:, :, 0]) if fan_in == 1 else
                          np.einsum("BHWC,HWCF->BF", window, w))
    return y


every_kernel = pytest.mark.parametrize("name", KERNELS)


@every_kernel
def test_is_the_sum_over_the_kernel(name):
    w, stride = kernel(name)
    np.testing.assert_allclose(conv(jnp.asarray(X), w, stride=stride),
                               reference(X, np.asarray(w, np.float64), stride), atol=1e-4)


def gradients(x, w, stride):
    return jax.value_and_grad(lambda x, w: jnp.sum(jnp.sin(conv(x, w, stride=stride))),
                              (0, 1))(x, w)


@pytest.mark.parametrize("places, stride", [(2, 1), (4, 2), (3, 2)])
def test_maps_of_few_places_have_the_gradients_of_the_convolution(places, stride):
    x, w = jnp.asarray(X[:, :places, :places]), kernel("3x3")[0]
    assert "conv_general" not in str(jax.make_jaxpr(lambda x, w: conv(x, w, stride=stride))(x, w))
    np.testing.assert_allclose(conv(x, w, stride=stride), reference(x, w, stride), atol=1e-4)
    grads = [jax.grad(lambda x, w, f=f: jnp.sum(jnp.sin(f(x, w))), argnums=(0, 1))(x, w)
             for f in (lambda x, w: products(x, w, stride, 1),
                       lambda x, w: correlate(x, w, stride, 1, 1))]
    for ours, theirs in zip(*grads, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_shifted_images_have_the_gradients_of_the_convolution():
    w, _ = kernel("depthwise")
    ours = gradients(jnp.asarray(X), w, 1)[1]
    theirs = jax.grad(lambda x, w: jnp.sum(jnp.sin(correlate(x, w, 1, 2, 8))), (0, 1))(
        jnp.asarray(X), w)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("name", ["3x3/2", "1x1/2", "depthwise"])
def test_eight_devices_convolve_as_one(name, kind):
    """One axis is not of the rows: what is the same along it must not be counted twice."""
    w, stride = kernel(name)
    value, alone = jax.jit(gradients, static_argnums=2)(jnp.asarray(X), w, stride)
    mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2}, kind)
    with sharding.use_mesh(mesh):
        x = sharding.place_batch(mesh, X)
        far = jax.device_put(w, sharding.shardings(mesh, {"w": (None, None, None, "fsdp")},
                                                   {"w": w})["w"])
        far_value, there = jax.jit(gradients, static_argnums=2)(x, far, stride)
    np.testing.assert_allclose(far_value, value, rtol=1e-4, atol=1e-3)
    for a, b in zip(there, alone, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(jnp.abs(b).max()))


def test_pooling_takes_the_largest_of_every_window():
    wide = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    expected = np.stack([[wide[:, 2 * r:2 * r + 3, 2 * c:2 * c + 3].max(axis=(1, 2))
                          for c in range(3)] for r in range(3)]).transpose(2, 0, 1, 3)
    np.testing.assert_array_equal(max_pool(jnp.asarray(X)), expected)


def test_places_are_read_row_by_row():
    np.testing.assert_array_equal(as_sequence(jnp.asarray(X))[:, 7], X[:, 1, 1])
