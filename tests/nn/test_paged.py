"""Attention over pages is attention, in both programs, and never reads what is not a row's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.nn.paged import as_pages, by_page, gathered, write_pages

B, L, H, K, P = 3, 2, 2, 4, 4
TABLE = np.array([[5, 9, 0], [2, 7, 4], [1, 0, 0]], np.int32)
POSITIONS = np.array([[5, 6], [9, 10], [0, 1]], np.int32)


def rows(key):
    """Return queries [B, L, H, K], and keys and values [B, 3 P, H, K] of whole rows."""
    q, k, v = (jax.random.normal(one, shape) for one, shape in zip(
        jax.random.split(key, 3), ((B, L, H, K), (B, 3 * P, H, K), (B, 3 * P, H, K)), strict=True))
    return q, k, v


def written(k, v):
    """Return pages, not-a-number but where the rows have written 0..last of themselves."""
    store = {name: jnp.full_like(x, jnp.nan)
             for name, x in as_pages({"k": jnp.zeros((1, 10, P, H, K)),
                                      "v": jnp.zeros((1, 10, P, H, K))})["0"].items()}
    for row, last in enumerate(POSITIONS[:, -1]):
        store = write_pages(store, k[row:row + 1, :last + 1], v[row:row + 1, :last + 1],
                            np.arange(last + 1)[None], TABLE[row:row + 1])
    return store


@pytest.mark.parametrize("form", [by_page, gathered])
def test_pages_give_what_a_plain_softmax_over_the_row_gives(form):
    q, k, v = rows(jax.random.key(0))
    store = written(k, v)
    out = form(q, store["k"], store["v"], TABLE, POSITIONS)
    for row in range(B):
        for query in range(L):
            upto = POSITIONS[row, query] + 1
            scores = np.einsum("hk,thk->ht", q[row, query], k[row, :upto]) / K ** 0.5
            weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
            right = np.einsum("ht,thk->hk", weights, v[row, :upto])
            np.testing.assert_allclose(out[row, query], right, atol=1e-5)


def test_longer_neighbours_change_no_bit_of_a_row():
    q, k, v = rows(jax.random.key(1))
    store, attend = written(k, v), jax.jit(by_page)
    short = POSITIONS.copy()
    short[1] = [0, 1]
    long = attend(q, store["k"], store["v"], TABLE, POSITIONS)
    found = attend(q, store["k"], store["v"], TABLE, short)
    np.testing.assert_array_equal(found[jnp.array([0, 2])], long[jnp.array([0, 2])])


def test_what_has_no_page_goes_to_page_zero():
    _, k, v = rows(jax.random.key(2))
    before = written(k, v)
    past = np.full((B, 1), 3 * P, np.int32)                   # beyond the table
    after = write_pages(before, k[:, :1], v[:, :1], past, TABLE)
    for name in ("k", "v"):
        np.testing.assert_array_equal(after[name][1:], before[name][1:])
        assert not np.isnan(after[name][0]).all()
