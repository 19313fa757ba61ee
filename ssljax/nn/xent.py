"""Cross-entropy of a large vocabulary without ever holding all logits.

Loss and both gradients are computed in the forward pass, a few hundred tokens at a time: the loss
is linear in its cotangent, so the backward pass only scales them. GPT-2's vocabulary over 16 rows
of 1,024 tokens takes 203 MiB a device on 8 devices instead of 1,179; recomputing the logits in the
backward pass instead takes 233 and a quarter more products. Every mesh axis is taken by one
shard_map: each device sees its rows and its slice of the vocabulary, and the table's gradient is
reduced once instead of once a chunk. Idea: Liger kernels, Hsu et al. 2024,
https://arxiv.org/abs/2410.10989.
Shapes: B batch, L length, D width, V vocabulary, T tokens of one device, C of them in a chunk.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.core.local import local
from ssljax.core.sharding import BATCH

ROWS = (*BATCH, "context")
varying = functools.partial(jax.lax.pcast, to="varying")
# Logits held at once on one device: 256 MiB keeps an accelerator's products large, and 16 MiB is
# about what a CPU's cache holds.
CHUNK = 2**26
CPU_CHUNK = 2**22


def fused_nats(x: jax.Array, table: jax.Array, targets: jax.Array, weights: jax.Array, *,
               z_loss: float = 0.0, chunk: int | None = None) -> tuple[jax.Array, jax.Array]:
    """Return (sum of weight (nats + z_loss log(Z)**2), sum of weight nats), float32 [].

    The first is differentiable by x and table; the second carries no gradient.

    Args:
        x: [B, L, D], of any layout over batch and context.
        table: [V, D], its vocabulary of any layout over tensor; logits are x @ table.T.
        targets: int32 [B, L].
        weights: float32 [B, L]; no gradient flows to them.
        z_loss: weight of the squared logarithm of the normaliser.
        chunk: logits held at once, tokens times vocabulary of a device.
    """
    chunk = chunk or (CPU_CHUNK if jax.default_backend() == "cpu" else CHUNK)
    rows = (BATCH, "context")
    run = functools.partial(device_sums, z_loss=z_loss, chunk=chunk)
    sums = local(run, ((*rows, None), ("tensor", None), rows, rows), (None,))(
        x, table, targets, weights)
    return sums[0], jax.lax.stop_gradient(sums[1])


def device_sums(x: jax.Array, table: jax.Array, targets: jax.Array, weights: jax.Array, *,
                z_loss: float, chunk: int) -> jax.Array:
    """Return float32 [2], summed over all devices, of one device's rows and vocabulary."""
    meshed = not jax.sharding.get_abstract_mesh().empty
    if meshed:
        # What is cast here is the same along those axes; its gradient is summed over them, once.
        x, table = varying(x, "tensor"), varying(table, ROWS)
    tokens, (v, d) = targets.size, table.shape
    n = chunks_of(tokens, max(1, chunk // v))
    sums = chunked(x.reshape(n, tokens // n, d), table, targets.reshape(n, -1),
                   weights.reshape(n, -1), z_loss, meshed)
    return jax.lax.psum(sums, ROWS) if meshed else sums


def chunks_of(tokens: int, most: int) -> int:
    """Return the smallest number of equal chunks of at most `most` tokens."""
    fewest = -(-tokens // most)
    return next(n for n in range(fewest, tokens + 1) if tokens % n == 0)


def chunk_sums(x: jax.Array, table: jax.Array, targets: jax.Array, weights: jax.Array,
               z_loss: float, meshed: bool) -> tuple[jax.Array, tuple]:
    """Return float32 [2] of one chunk of tokens [C], and what its gradient is made of."""
    logits = jax.lax.dot_general(x, table, (((1,), (1,)), ((), ())),
                                 preferred_element_type=jnp.float32)
    first = jax.lax.axis_index("tensor") * table.shape[0] if meshed else 0
    hot = targets[:, None] == first + jnp.arange(table.shape[0])
    top = jax.lax.stop_gradient(jnp.max(logits, axis=-1))
    top = jax.lax.pmax(top, "tensor") if meshed else top
    e = jnp.exp(logits - top[:, None])
    pair = jnp.sum(e, axis=-1), jnp.sum(jnp.where(hot, logits, 0), axis=-1)
    z, hit = jax.lax.psum(pair, "tensor") if meshed else pair
    log_z = jnp.log(z) + top
    nats = jnp.sum((log_z - hit) * weights)
    total = nats + z_loss * jnp.sum(log_z**2 * weights)
    return jnp.stack([total, nats]), (e, z, hot, log_z)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def chunked(x: jax.Array, table: jax.Array, targets: jax.Array, weights: jax.Array, z_loss: float,
            meshed: bool) -> jax.Array:
    """Return float32 [2] of tokens in chunks: x [n, C, D], targets and weights [n, C]."""
    def step(sums: jax.Array, one: tuple) -> tuple[jax.Array, None]:
        x, targets, weights = one
        return sums + chunk_sums(x, table, targets, weights, z_loss, meshed)[0], None

    return jax.lax.scan(step, zeros_of(weights), (x, targets, weights))[0]


def zeros_of(weights: jax.Array) -> jax.Array:
    """Return float32 [2] of zeros that vary over the mesh as the weights do; a carry must."""
    return jnp.zeros(2) * weights[0, 0]


def forward(x: jax.Array, table: jax.Array, targets: jax.Array, weights: jax.Array, z_loss: float,
            meshed: bool) -> tuple[jax.Array, tuple]:
    """Return the sums and both gradients of the first."""
    def step(carry: tuple, one: tuple) -> tuple[tuple, jax.Array]:
        (sums, d_table), (x, targets, weights) = carry, one
        new, (e, z, hot, log_z) = chunk_sums(x, table, targets, weights, z_loss, meshed)
        scale = weights * (1 + 2 * z_loss * log_z) / z
        d = (e * scale[:, None] - jnp.where(hot, weights[:, None], 0)).astype(x.dtype)
        d_table += jax.lax.dot_general(d, x, (((0,), (0,)), ((), ())),
                                       preferred_element_type=jnp.float32)
        return (sums + new, d_table), d @ table

    start = zeros_of(weights), jnp.zeros_like(table, jnp.float32)
    (sums, d_table), dx = jax.lax.scan(step, start, (x, targets, weights))
    return sums, (dx, d_table.astype(table.dtype), targets, weights)


def backward(z_loss: float, meshed: bool, kept: tuple, ds: jax.Array) -> tuple:
    """Scale the gradients; only the first sum has one."""
    del z_loss
    dx, d_table, targets, weights = kept
    d = varying(ds[0], "tensor") if meshed else ds[0]
    return ((dx * d).astype(dx.dtype), (d_table * d).astype(d_table.dtype),
            np.zeros(targets.shape, jax.dtypes.float0), jnp.zeros_like(weights))


chunked.defvjp(forward, backward)
