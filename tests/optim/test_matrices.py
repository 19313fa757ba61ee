"""Weights as matrices: a product with a weight is a product with its matrix."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.optim.matrices import HEADS, HIDDEN, PLAIN, from_matrix, to_matrix

CASES = {"w_qkv": ((2, 6, 3, 4, 5), "lbd,ldshk->lsbhk"), "w_out": ((2, 4, 5, 6), "lbhk,lhkd->lbd"),
         "w_up_e": ((2, 3, 6, 4), "lebd,ledf->lebf")}


@pytest.mark.parametrize("name", CASES)
def test_a_matrix_multiplies_as_its_weight_does(name):
    shape, product = CASES[name]
    matrix = HEADS.get(name, PLAIN)
    weight = jax.random.normal(jax.random.key(0), shape)
    inputs, _ = product.split("->")[0].split(",")
    sizes = dict(zip(product.split("->")[0].split(",")[1], shape)) | {"b": 7}
    x = jax.random.normal(jax.random.key(1), [sizes[c] for c in inputs])
    expected = jnp.einsum(product, x, weight)
    flat = to_matrix(weight, matrix)
    lead = flat.ndim - 2
    x = x.reshape(*x.shape[:x.ndim - len(matrix.rows)], flat.shape[-2])
    x = x[:, None] if name == "w_qkv" else x                # one input for three matrices
    ours = (x @ flat).reshape(expected.shape)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
    assert lead == len(shape) - len(matrix.rows) - len(matrix.columns)
    np.testing.assert_array_equal(from_matrix(flat, matrix, shape), weight)


def test_the_hidden_weights_are_those_of_the_blocks():
    names = ("w_qkv", "w_out", "w_gate", "w_up", "w_down", "w_up_e", "w_down_e", "w_gate_e")
    assert all(re.fullmatch(HIDDEN, n) for n in names)
    others = ("embedding", "scale", "b_up", "w_patch", "w_router")
    assert not any(re.fullmatch(HIDDEN, n) for n in others)
