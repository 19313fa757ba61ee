"""Ring attention: keys and values travel round the devices that share a sequence.

Liu et al. 2023, https://arxiv.org/abs/2310.01889, with the online softmax of Milakov and
Gimelshein 2018, https://arxiv.org/abs/1805.02867. The place in the row and the segment of every key
travel with it, so that packed documents and any order of tokens are only different numbers.
Shapes: B batch, Q queries and S keys of one device, H heads, K head width.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.core.local import local
from ssljax.core.sharding import BATCH, shard

QKV = (BATCH, "context", "tensor", None)
LABELS = (BATCH, "context", None)
MASKED = -1e30        # finite: the difference of two masked logits is a number


def ring_attention(q: jax.Array, k: jax.Array, v: jax.Array, *, causal: bool,
                   segment_ids: jax.Array | None) -> jax.Array:
    """Attend within sequences [B, L, H, K] that the context axis shares; L divides over it."""
    b, length = q.shape[:2]
    order = jnp.broadcast_to(jnp.arange(length, dtype=jnp.int32), (b, length))
    segments = jnp.zeros_like(order) if segment_ids is None else segment_ids
    labels = jnp.stack([shard(t, BATCH, "context") for t in (order, segments)], axis=-1)
    return local(functools.partial(ring, causal), (QKV, QKV, QKV, LABELS), QKV)(q, k, v, labels)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def ring(causal: bool, q: jax.Array, k: jax.Array, v: jax.Array, labels: jax.Array) -> jax.Array:
    """Attend from one device's block [B, Q, H, K] to all keys; `labels` are (place, segment).

    Differentiated by hand: JAX would keep every block that passed by.
    """
    return ring_forward(causal, q, k, v, labels)[0]


def scores(causal: bool, q: jax.Array, k: jax.Array, ours: jax.Array, theirs: jax.Array,
           ) -> jax.Array:
    """Return the masked logits float32 [B, H, Q, S]."""
    s = jnp.einsum("BQHK,BSHK->BHQS", q, k, preferred_element_type=jnp.float32)
    seen = ours[:, :, None, 1] == theirs[:, None, :, 1]
    if causal:
        seen &= ours[:, :, None, 0] >= theirs[:, None, :, 0]
    return jnp.where(seen[:, None], s * q.shape[-1] ** -0.5, MASKED)


def passed_on(tree: Any) -> Any:
    """Send arrays to the next device of the ring."""
    n = jax.lax.axis_size("context")
    return jax.lax.ppermute(tree, "context", [(i, (i + 1) % n) for i in range(n)])


def unless_masked(causal: bool, ours: jax.Array, theirs: jax.Array, block: Any, carry: Any) -> Any:
    """Run `block` on the carry unless all its keys lie in every query's future."""
    if not causal:
        return block(carry)
    return jax.lax.cond(ours[..., 0].max() >= theirs[..., 0].min(), block, lambda x: x, carry)


def ring_forward(causal: bool, q: jax.Array, k: jax.Array, v: jax.Array, labels: jax.Array,
                 ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Return the attention [B, Q, H, K] and what its gradient needs."""
    def hop(carry: Any, _: None) -> tuple[Any, None]:
        (k, v, theirs), sums = carry

        def block(sums: Any) -> Any:
            top, weight, out = sums
            s = scores(causal, q, k, labels, theirs)
            new = jnp.maximum(top, s.max(-1))
            p, shrink = jnp.exp(s - new[..., None]), jnp.exp(top - new)
            out = out * shrink[..., None] + jnp.einsum(
                "BHQS,BSHK->BHQK", p.astype(v.dtype), v, preferred_element_type=jnp.float32)
            return new, weight * shrink + p.sum(-1), out

        sums = unless_masked(causal, labels, theirs, block, sums)
        return (passed_on((k, v, theirs)), sums), None

    # The first block is a device's own, where every query sees itself: `top` is a logit from then
    # on, and blocks that a query does not see add nothing. zeros_like inherits q's mesh axes.
    like = jnp.zeros_like(q.swapaxes(1, 2), jnp.float32)                         # [B, H, Q, K]
    start = (like[..., 0] + MASKED, like[..., 0], like)
    (_, (top, weight, out)), _ = jax.lax.scan(hop, ((k, v, labels), start),
                                              length=jax.lax.axis_size("context"))
    out = (out / weight[..., None]).swapaxes(1, 2).astype(q.dtype)
    return out, (q, k, v, labels, out, top + jnp.log(weight))


def ring_backward(causal: bool, saved: tuple[jax.Array, ...], g: jax.Array) -> tuple[Any, ...]:
    """Send keys round once more with their gradients, which are complete when they are home."""
    q, k, v, labels, out, logsumexp = saved
    scale = q.shape[-1] ** -0.5
    product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
    delta = product("BQHK,BQHK->BHQ", g, out)

    def hop(carry: Any, _: None) -> tuple[Any, None]:
        (k, v, theirs, dk, dv), dq = carry

        def block(sums: Any) -> Any:
            dq, dk, dv = sums
            p = jnp.exp(scores(causal, q, k, labels, theirs) - logsumexp[..., None])
            ds = p * (product("BQHK,BSHK->BHQS", g, v) - delta[..., None]) * scale
            p, ds = p.astype(v.dtype), ds.astype(v.dtype)
            return (dq + product("BHQS,BSHK->BQHK", ds, k), dk + product("BHQS,BQHK->BSHK", ds, q),
                    dv + product("BHQS,BQHK->BSHK", p, g))

        dq, dk, dv = unless_masked(causal, labels, theirs, block, (dq, dk, dv))
        return (passed_on((k, v, theirs, dk, dv)), dq), None

    dq, dk, dv = (jnp.zeros_like(t, jnp.float32) for t in (q, k, v))
    (home, dq), _ = jax.lax.scan(hop, ((k, v, labels, dk, dv), dq),
                                 length=jax.lax.axis_size("context"))
    no_gradient = np.zeros(labels.shape, jax.dtypes.float0)
    return dq.astype(q.dtype), home[3].astype(k.dtype), home[4].astype(v.dtype), no_gradient


ring.defvjp(ring_forward, ring_backward)
