"""DINO's head: cosines, whatever the lengths of embeddings and prototypes."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.families.prototypes import (
    init_prototypes,
    prototype_head,
    prototype_scores,
    unit_columns,
)

RNG = np.random.default_rng(0)
Z, W = RNG.normal(size=(6, 8)), RNG.normal(size=(8, 5))


def reference(z: np.ndarray, w: np.ndarray) -> np.ndarray:
    out = np.zeros((len(z), w.shape[1]))
    for i in range(len(z)):
        for j in range(w.shape[1]):
            out[i, j] = z[i] @ w[:, j] / np.linalg.norm(z[i]) / np.linalg.norm(w[:, j])
    return out


def test_scores_are_cosines_of_rows_and_columns():
    scores = prototype_scores(jnp.asarray(Z), unit_columns(jnp.asarray(W)))
    np.testing.assert_allclose(scores, reference(Z, W), rtol=1e-5)
    tokens = prototype_scores(jnp.asarray(Z).reshape(2, 3, 8), unit_columns(jnp.asarray(W)))
    np.testing.assert_allclose(tokens.reshape(6, 5), scores, rtol=1e-6)


def test_prototypes_start_at_length_one_and_their_length_gets_no_gradient():
    w = init_prototypes(jax.random.key(0), 8, 5)["w_prototypes"]
    np.testing.assert_allclose(np.linalg.norm(w, axis=0), 1, rtol=1e-5)
    grad = jax.grad(lambda w: jnp.sum(prototype_scores(jnp.asarray(Z), unit_columns(w))**3))(
        jnp.asarray(W, jnp.float32))
    np.testing.assert_allclose(np.sum(np.asarray(grad) * W, axis=0), 0, atol=1e-5)
    assert np.abs(grad).max() > 1e-3


def test_head_ends_in_float32_cosines_also_in_bfloat16():
    head = prototype_head([12, 8, 4], 6)
    params, stats = head.init(jax.random.key(0), 8)
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
    scores, _ = head.apply(half, stats, jnp.asarray(Z, jnp.bfloat16), train=True)
    assert scores.shape == (6, 6)
    assert scores.dtype == jnp.float32
    assert np.abs(scores).max() <= 1 + 1e-5
