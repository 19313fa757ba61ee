"""Mixture of experts: the equations in NumPy, the limits of the losses, padding left out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.models import gpt
from ssljax.nn.moe import Experts, routing_sums

B, L, D, F, E, K = 2, 6, 8, 12, 4, 2
X = np.random.default_rng(0).normal(size=(B, L, D)).astype(np.float32)


def layer(gated=True):
    experts = Experts(E, K, F, 1.0, gated)
    return experts, experts.init(jax.random.key(0), X, None)["params"]


def reference(params, x, gated):
    """Every token through its K likeliest experts, one token at a time."""
    logits = x @ np.asarray(params["w_router"])
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    y = np.zeros_like(x)
    for place in np.ndindex(*x.shape[:2]):
        best = np.argsort(-p[place])[:K]
        for e in best:
            up = x[place] @ np.asarray(params["w_up_e"][e])
            hidden = (jax.nn.silu(x[place] @ np.asarray(params["w_gate_e"][e])) * up if gated else
                      jax.nn.gelu(up))
            y[place] += p[place][e] / p[place][best].sum() * (hidden @ params["w_down_e"][e])
    return y


@pytest.mark.parametrize("gated", [True, False])
def test_tokens_go_through_their_likeliest_experts(gated):
    experts, params = layer(gated)
    y, _ = experts.apply({"params": params}, X, None)
    np.testing.assert_allclose(y, reference(params, X, gated), atol=1e-5)


def test_the_balance_loss_is_the_equation_of_deepseek():
    logits = np.random.default_rng(1).normal(size=(B, L, E)).astype(np.float32)
    ids = np.argsort(-logits, axis=-1)[..., :K]
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    total = 0.0
    for row in range(B):
        f = np.array([(ids[row] == i).sum() for i in range(E)]) * E / (K * L)
        total += L * (f * p[row].mean(0)).sum()
    sums = routing_sums(jnp.asarray(logits), jnp.asarray(ids), None)
    np.testing.assert_allclose(sums["balance"], total, rtol=1e-5)
    np.testing.assert_allclose(
        sums["z"], (np.log(np.exp(logits).sum(-1)) ** 2).sum(), rtol=1e-5)


def test_even_and_collapsed_routers_are_the_limits():
    even = jnp.zeros((1, E, E))
    turns = (jnp.arange(E)[:, None] + jnp.arange(K)) % E
    sums = {n: float(s) / E for n, s in routing_sums(even, turns[None], None).items()}
    assert sums["balance"] == pytest.approx(1)
    assert sums["busiest"] == pytest.approx(1)
    assert sums["entropy"] == pytest.approx(np.log(E))
    same = jnp.broadcast_to(jnp.array([30.0, 29.0, -30.0, -30.0]), (1, L, E))
    worst = routing_sums(same, jnp.broadcast_to(jnp.arange(K), (1, L, K)), None)
    assert worst["busiest"] / L == pytest.approx(E / K)
    assert worst["balance"] / L == pytest.approx(E / K)


def test_padding_is_no_part_of_the_sums_and_rows_add():
    logits = jnp.asarray(np.random.default_rng(2).normal(size=(B, L, E)), jnp.float32)
    ids = jax.lax.top_k(logits, K)[1]
    valid = jnp.asarray([[True] * 4 + [False] * 2, [False] * 6])
    whole = routing_sums(logits, ids, valid)
    assert whole["tokens"] == 4
    cut = routing_sums(logits[:1, :4], ids[:1, :4], None)
    rows = [routing_sums(logits[i:i + 1], ids[i:i + 1], valid[i:i + 1]) for i in range(B)]
    for name, value in whole.items():
        np.testing.assert_allclose(value, cut[name], rtol=1e-5)
        np.testing.assert_allclose(value, rows[0][name] + rows[1][name], rtol=1e-5)


def test_gradients_reach_the_router_and_every_expert_in_use():
    experts, params = layer()
    loss = lambda p: jnp.sum(experts.apply({"params": p}, X, None)[0] ** 2)  # noqa: E731
    grads = jax.grad(loss)(params)
    logits = X @ np.asarray(params["w_router"])
    used = np.unique(np.argsort(-logits, axis=-1)[..., :K])
    assert np.abs(grads["w_router"]).max() > 0
    for name in ("w_gate_e", "w_up_e", "w_down_e"):
        reached = np.flatnonzero(np.abs(grads[name]).max((1, 2)) > 0)
        assert reached.tolist() == used.tolist(), name


def test_more_choices_than_experts_are_refused():
    with pytest.raises(ConfigError, match="experts_per_token = 5 of 4 experts"):
        gpt.make(**gpt.TINY, experts=4, experts_per_token=5)
