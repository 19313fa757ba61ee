"""Remat policies: the same gradients, less memory, values sent to the host where it is asked."""

import functools
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.nn.remat import Remat
from ssljax.nn.transformer import UNROLL_DEPTH, Transformer, is_unrolled

B, L, D = 2, 64, 32
X = np.random.default_rng(0).normal(size=(B, L, D)).astype(np.float32)
POLICIES = typing.get_args(Remat)


def network(remat, layers="scan", depth=3):
    return Transformer(depth=depth, num_heads=4, mlp_dim=64, causal=True, remat=remat,
                       layers=layers)


@functools.cache
def compiled(remat):
    net = network(remat)
    params = network("none").init(jax.random.key(0), X)["params"]
    loss = lambda params: jnp.sum(net.apply({"params": params}, X)[0] ** 3)  # noqa: E731
    step = jax.jit(jax.grad(loss)).lower(params)
    return jax.make_jaxpr(jax.grad(loss))(params), step.compile(), params


@pytest.mark.parametrize("remat", [r for r in POLICIES if r != "none"])
def test_gradients_are_those_of_no_remat(remat):
    _, plain, params = compiled("none")
    _, step, _ = compiled(remat)
    for a, b in zip(jax.tree.leaves(step(params)), jax.tree.leaves(plain(params)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(jnp.abs(b).max()))


def test_memory_falls_from_policy_to_policy():
    temporary = [compiled(r)[1].memory_analysis().temp_size_in_bytes
                 for r in ("none", "dots", "names", "full")]
    assert temporary == sorted(temporary, reverse=True)
    assert temporary[-1] < 0.6 * temporary[0]


def test_offload_moves_the_named_values_to_the_host():
    """The jaxpr says so; on a CPU both memories are one, and lowering drops the moves."""
    memories = {remat: str(compiled(remat)[0]) for remat in ("names", "offload")}
    assert "Host" in memories["offload"] or "pinned_host" in memories["offload"]
    assert "Host" not in memories["names"]
    assert "pinned_host" not in memories["names"]


def test_layers_are_chosen_by_depth_and_remat():
    assert is_unrolled("auto", UNROLL_DEPTH, "none")
    assert not is_unrolled("auto", UNROLL_DEPTH + 1, "none")
    assert not is_unrolled("auto", 2, "full")
    assert is_unrolled("unroll", 100, "full")
    assert not is_unrolled("scan", 2, "none")
