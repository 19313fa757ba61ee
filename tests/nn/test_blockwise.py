"""Attention by ordinary products: the formula and its gradients, whatever the blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.nn.blockwise import blockwise_attention, causal_blocks

B, L, H, K = 2, 12, 3, 8
RANDOM = np.random.default_rng(0)
Q, KEY, VALUE, COTANGENT = RANDOM.normal(size=(4, B, L, H, K)).astype(np.float32)
SEGMENTS = np.repeat([[1] * 5 + [2] * 7, [1] * 12], 1, 0)
MASK = ((SEGMENTS[:, :, None] == SEGMENTS[:, None, :]) & np.tril(np.ones((L, L), bool)))[:, None]


def formula(q, k, v):
    scores = jnp.einsum("BLHK,BTHK->BHLT", q, k) / K**0.5
    return jnp.einsum("BHLT,BTHK->BLHK", jax.nn.softmax(jnp.where(MASK, scores, -jnp.inf)), v)


@pytest.mark.parametrize("blocks", [1, 3])
def test_result_and_gradients_equal_the_formula(blocks):
    def both(function):
        y, back = jax.vjp(function, Q, KEY, VALUE)
        return y, *back(jnp.asarray(COTANGENT))

    found = both(lambda q, k, v: blockwise_attention(q, k, v, jnp.asarray(MASK), blocks))
    for a, b in zip(found, both(formula), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_query_that_sees_nothing_is_finite():
    y, back = jax.vjp(lambda q: blockwise_attention(q, KEY, VALUE, jnp.zeros_like(MASK)), Q)
    assert np.isfinite(y).all()
    assert np.isfinite(back(jnp.asarray(COTANGENT))[0]).all()


def test_softmax_is_float32_in_bfloat16():
    half = [jnp.asarray(x, jnp.bfloat16) for x in (Q, KEY, VALUE)]
    text = jax.jit(lambda *args: blockwise_attention(*args, jnp.asarray(MASK))).lower(
        *half).as_text()
    exponentials = [line for line in text.splitlines() if "stablehlo.exponential" in line]
    assert exponentials
    assert not any("bf16" in line for line in exponentials)


def test_blocks_divide_the_length_and_are_few():
    assert [causal_blocks(n) for n in (64, 128, 255, 256, 384, 1000, 4096)] == [
        1, 1, 1, 2, 3, 5, 8]
