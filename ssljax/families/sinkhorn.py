"""Assignments of a batch to prototypes that use all prototypes equally.

Sinkhorn-Knopp as in SwAV, Caron et al. 2020, https://arxiv.org/abs/2006.09882 (section 3.1; also
the teacher of DINOv2): prototypes and rows are normalised in turn, over the global batch whatever
the mesh. In logarithms, so that no temperature underflows. Shapes: B rows, K prototypes.
"""

import jax
import jax.numpy as jnp


def sinkhorn(scores: jax.Array, *, temperature: float | jax.Array, iterations: int = 3,
             weights: jax.Array | None = None) -> jax.Array:
    """Return assignments [B, K], float32, without gradient; every row sums to one.

    Args:
        scores: similarities of rows and prototypes, [B, K] or [B, N, K] (rows are all B N).
        temperature: epsilon; small ones make assignments hard.
        iterations: of normalising prototypes, then rows.
        weights: [B] or [B, N], at least 0: what a row counts. Rows of weight 0 are assigned as if
            they had not been there, and change nothing for the others.
    """
    log_q = jax.lax.stop_gradient(scores).astype(jnp.float32) / temperature
    rows = tuple(range(log_q.ndim - 1))
    counts = None
    if weights is not None:
        weights = weights.astype(jnp.float32)
        # A batch in which nothing counts would divide by zero; what it is told matters to nobody.
        counts = jnp.where(jnp.sum(weights) > 0, weights, 1)[..., None]
    for _ in range(iterations):
        log_q -= jax.nn.logsumexp(log_q, axis=rows, keepdims=True, b=counts)
        log_q -= jax.nn.logsumexp(log_q, axis=-1, keepdims=True)
    return jnp.exp(log_q)
