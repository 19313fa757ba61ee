"""Mixture of experts: a router sends every token to a few of many feed-forward layers.

Top-k routing as in Mixtral (Jiang et al. 2024, https://arxiv.org/abs/2401.04088); no capacity, so
no token is dropped: tokens are sorted by expert and multiplied group by group. The loss that keeps
experts evenly used is the sequence-wise one of DeepSeek-V3 (https://arxiv.org/abs/2412.19437,
equations 17-20): a sum over rows, so it is the same on any mesh and under gradient accumulation,
where a product of means over the batch would not be. The z loss is ST-MoE's
(https://arxiv.org/abs/2202.08906, equation 5).
Shapes: B batch, L length, D width, E experts, K experts of a token, F hidden.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.core.local import local
from ssljax.core.sharding import BATCH, einsum

TOKENS = (BATCH, "context", None)
UP, DOWN = ("expert", None, "tensor"), ("expert", "tensor", None)
Routing = dict[str, jax.Array]         # float32 scalars that add over rows and layers


class Experts(nn.Module):
    """The feed-forward layer of a block, one of `experts` for each of a token's choices."""

    experts: int
    per_token: int
    hidden: int
    out_scale: float
    gated: bool

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array | None) -> tuple[jax.Array, Routing]:
        """Map x [B, L, D] to [B, L, D] and the router's sums over the `valid` tokens bool [B, L].

        The router computes in float32 whatever the compute dtype: rounding would reorder experts.
        """
        d, e, f = x.shape[-1], self.experts, self.hidden
        spread = functools.partial(nn.initializers.variance_scaling, batch_axis=(0,))
        up = spread(1.0, "fan_in", "truncated_normal")
        w_router = self.param("w_router", nn.initializers.lecun_normal(), (d, e))
        weights = [self.param(name, up, (e, d, f))
                   for name in (("w_gate_e", "w_up_e") if self.gated else ("w_up_e",))]
        w_down = self.param("w_down_e", spread(self.out_scale, "fan_in", "truncated_normal"),
                            (e, f, d))
        logits = einsum("BLD,DE->BLE", x.astype(jnp.float32), w_router.astype(jnp.float32),
                        out=TOKENS)
        gates, ids = jax.lax.top_k(jax.nn.softmax(logits), self.per_token)
        gates /= jnp.sum(gates, axis=-1, keepdims=True)
        run = local(grouped_mlp if jax.sharding.get_abstract_mesh().empty else exchanged,
                    (TOKENS, TOKENS, TOKENS, DOWN, *(UP,) * len(weights)), TOKENS)
        return run(x, gates, ids, w_down, *weights), routing_sums(logits, ids, valid)


def routing_sums(logits: jax.Array, ids: jax.Array, valid: jax.Array | None) -> Routing:
    """Return what the router did, as sums weighted by tokens.

    Args:
        logits: float32 [B, L, E].
        ids: int32 [B, L, K], the experts chosen.
        valid: bool [B, L]; None counts all tokens.

    Returns:
        tokens: how many were valid.
        balance: sum over rows of tokens * sum_i f_i P_i, where f_i is the fraction of choices that
            fell on expert i times E, and P_i its mean probability; 1 a token when even.
        z: sum of squared log-partition functions.
        entropy: sum of the entropies of the choice, nats.
        busiest: sum over rows of tokens * max_i f_i; 1 a token when even, E / K at worst.
    """
    e, k = logits.shape[-1], ids.shape[-1]
    ones = jnp.ones_like(logits[..., 0])
    weight = (ones if valid is None else ones * valid)[..., None]                # [B, L, 1]
    logp = jax.nn.log_softmax(logits)
    chosen = jnp.sum(ids[..., None] == jnp.arange(e), axis=-2) * weight         # [B, L, E]
    tokens = jnp.sum(weight, axis=1)                                             # [B, 1]
    mean = lambda t: jnp.sum(t, axis=1) / jnp.maximum(tokens, 1)  # noqa: E731
    load = mean(chosen) * (e / k)
    return {
        "tokens": jnp.sum(tokens),
        "balance": jnp.sum(tokens * load * mean(jnp.exp(logp) * weight)),
        "z": jnp.sum(jax.nn.logsumexp(logits, axis=-1, keepdims=True) ** 2 * weight),
        "entropy": -jnp.sum(jnp.exp(logp) * logp * weight),
        "busiest": jnp.sum(tokens[:, 0] * jnp.max(load, axis=-1))}


def grouped_mlp(x: jax.Array, gates: jax.Array, ids: jax.Array, w_down: jax.Array,
                *weights: jax.Array, first: jax.Array | int = 0) -> jax.Array:
    """Run the experts first .. first + E on the tokens that chose them; zeros for the others.

    Args:
        x: [B, L, D].
        gates: float32 [B, L, K], the weights of a token's experts.
        ids: int32 [B, L, K], the experts.
        w_down: [E, F, D].
        *weights: w_up [E, D, F], or w_gate and w_up.
        first: the number of the first of these experts.
    """
    (b, length, d), k, e = x.shape, ids.shape[-1], w_down.shape[0]
    slot = ids.reshape(-1) - first
    mine = (slot >= 0) & (slot < e)
    slot = jnp.where(mine, slot, e)                              # others' choices, sorted last
    order = jnp.argsort(slot, stable=True)
    sizes = jnp.bincount(slot, length=e + 1)[:e].astype(jnp.int32)
    # A permutation, there and back: gathers with unique indices, whose gradients are deterministic
    # on GPUs; scattering sums of K rows would not be.
    rows = jnp.repeat(x.reshape(-1, d), k, axis=0).at[order].get(unique_indices=True)
    hidden = [jax.lax.ragged_dot(rows, w, sizes) for w in weights]
    hidden = jax.nn.silu(hidden[0]) * hidden[1] if len(hidden) == 2 else jax.nn.gelu(hidden[0])
    y = jax.lax.ragged_dot(hidden, w_down, sizes)
    y = y.at[jnp.argsort(order)].get(unique_indices=True).reshape(-1, k, d)
    # where, not a product: what lies beyond the groups is undefined, and may not be finite.
    y = jnp.where(mine.reshape(-1, k, 1), y * gates.reshape(-1, k, 1), 0)
    return jnp.sum(y, axis=1).astype(x.dtype).reshape(b, length, d)


def exchanged(x: jax.Array, gates: jax.Array, ids: jax.Array, w_down: jax.Array,
              *weights: jax.Array) -> jax.Array:
    """Run each device's experts on the tokens of all devices along expert, and add the results.

    Gathering moves n t rows for n devices of t tokens, an all-to-all that never drops t K: fewer
    while n <= K, and no buffer is sized by a guess.
    """
    first = jax.lax.axis_index("expert") * w_down.shape[0]
    x, gates, ids = (jax.lax.all_gather(t, "expert", axis=0, tiled=True) for t in (x, gates, ids))
    y = grouped_mlp(x, gates, ids, w_down, *weights, first=first)
    y = jax.lax.psum_scatter(y, "expert", scatter_dimension=0, tiled=True)
    return jax.lax.psum(y, "tensor")
