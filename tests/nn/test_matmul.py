"""Products with weights: flat ones equal einsum, fp8 ones equal a NumPy reference."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from absl import logging

from ssljax.core import sharding
from ssljax.nn import matmul
from ssljax.nn.matmul import flat_product, has_fp8, project, turned_products

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 3, 4, 5)).astype(np.float32)
OUT = (None,) * 4


def rounded(x, dtype):
    """Per-tensor scaling: the largest entry becomes the format's largest number."""
    scale = np.float32(np.abs(x).max()) / np.float32(ml_dtypes.finfo(dtype).max)
    return (x / scale).astype(dtype).astype(np.float32) * scale


@pytest.mark.parametrize(("subscripts", "shape"), [
    ("BLHK,HKD->BLD", (4, 5, 7)), ("BLHK,KDE->BLHDE", (5, 7, 2)), ("BLHK,VHK->BLV", (7, 4, 5)),
    ("BLHK,VK->BLHV", (7, 5))])
def test_a_flat_product_is_the_einsum(subscripts, shape):
    w = RANDOM.normal(size=shape).astype(np.float32)
    y = project(subscripts, jnp.asarray(X), jnp.asarray(w), out=OUT)
    np.testing.assert_allclose(y, np.einsum(subscripts, X, w), rtol=1e-5, atol=1e-5)


def test_fp8_rounds_operands_to_e4m3_and_gradients_to_e5m2():
    w = RANDOM.normal(size=(4, 5, 7)).astype(np.float32)
    dy = RANDOM.normal(size=(2, 3, 7)).astype(np.float32)
    y, back = jax.vjp(lambda x, w: project("BLHK,HKD->BLD", x, w, out=OUT, matmul="fp8"), X, w)
    dx, dw = back(jnp.asarray(dy))
    x8, w8 = rounded(X, ml_dtypes.float8_e4m3fn), rounded(w, ml_dtypes.float8_e4m3fn)
    dy8 = rounded(dy, ml_dtypes.float8_e5m2)
    np.testing.assert_allclose(y, np.einsum("BLHK,HKD->BLD", x8, w8), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dx, np.einsum("BLD,HKD->BLHK", dy8, w8), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dw, np.einsum("BLHK,BLD->HKD", x8, dy8), rtol=1e-5, atol=1e-5)
    assert np.abs(y - np.einsum("BLHK,HKD->BLD", X, w)).max() > 1e-3


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_fp8_is_blind_to_the_scale_of_a_tensor(scale):
    error = np.abs(matmul.round_to(jnp.float32(scale) * X, matmul.FORWARD) / scale - X)
    assert (error <= np.maximum(2**-4 * np.abs(X), 1e-3)).all()


def test_zeros_stay_zeros():
    assert not np.asarray(matmul.round_to(jnp.zeros(4), matmul.FORWARD)).any()


def test_fp8_equals_itself_on_a_mesh():
    x, w = RANDOM.normal(size=(8, 4, 16)).astype("f"), RANDOM.normal(size=(16, 8)).astype("f")
    run = jax.jit(lambda x, w: project("BLD,DF->BLF", x, w, matmul="fp8",
                                       out=(sharding.BATCH, None, "tensor")))
    alone = run(x, w)
    with sharding.use_mesh(sharding.make_mesh({"data": 4, "tensor": 2})):
        np.testing.assert_allclose(run(x, w), alone, rtol=1e-5, atol=1e-5)


def test_devices_with_fp8_are_known():
    assert has_fp8("gpu", "9.0")
    assert has_fp8("gpu", "8.9")
    assert not has_fp8("gpu", "8.0")
    assert not has_fp8("gpu", "gfx942")
    assert not has_fp8("cpu", "")


def test_emulation_is_said_once(monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: said.append(text % args))
    matmul.announce_fp8.cache_clear()
    matmul.announce_fp8()
    matmul.announce_fp8()
    assert len(said) == 1
    assert "emulated" in said[0]


def test_turned_products_are_the_same_product():
    x, w, v = (jax.random.normal(jax.random.key(i), s) for i, s in
               enumerate([(2, 3, 8), (8, 2, 4), (5, 8)]))
    for subscripts, right in (("BLD,DHK->BLHK", w), ("BLD,VD->BLV", v)):
        with turned_products():
            found = jax.jit(lambda x, w, s=subscripts: flat_product(s, x, w))(x, right)
        np.testing.assert_allclose(found, jnp.einsum(subscripts, x, right), rtol=1e-5, atol=1e-5)
