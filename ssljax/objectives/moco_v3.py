"""MoCo v3: contrast with what a slowly moving copy makes of the other views; no queue.

Chen et al. 2021, https://arxiv.org/abs/2104.02057 (algorithm 1). Reads view1, view2
f32 [B, H, W, C]. The negatives are the teacher's embeddings of the global batch, whatever the mesh.
The paper freezes a vision transformer's random patch projection (section 4.2): say so in the
optimizer, groups=dict(stem=dict(match="encoder/[wb]_patch", freeze=True)). Evaluation uses the
student's encoder.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ssljax.core.types import Batch, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.heads import mlp
from ssljax.families.health import spread
from ssljax.families.joint import first_hits, similarities, student_encoder, unit
from ssljax.families.self_prediction import make_networks
from ssljax.families.teacher import cosine_momentum
from ssljax.nn.loss import cross_entropy

TINY = {"dims": (32, 16), "predictor_dim": 32, "momentum": 0.9}


def contrast(queries: jax.Array, keys: jax.Array, temperature: float,
             ) -> tuple[jax.Array, jax.Array]:
    """Return 2 temperature times the nats of the queries' own keys, summed, and first places.

    Args:
        queries: [B, E], of any length.
        keys: [B, E] of the other views of the same images.
        temperature: tau; the factor keeps gradients alike for all of them.
    """
    logits = similarities(unit(queries), unit(keys)) / temperature
    own = jnp.arange(queries.shape[0])
    return 2 * temperature * jnp.sum(cross_entropy(logits, own)), first_hits(logits, own)


def make(model: Model, *, total_steps: int, temperature: float = 0.2, momentum: float = 0.99,
         dims: Sequence[int] = (4096, 4096, 256), predictor_dim: int = 4096) -> Objective:
    """Return MoCo v3 around an encoder that pools.

    Args:
        model: reads image, returns pooled [B, D].
        total_steps: length of the run, over which the momentum rises to 1.
        temperature: 0.2 for transformers, 1.0 for ResNet-50.
        momentum: of the teacher at the first step.
        dims: of the projector's layers, the last of which is E and has a norm without weights.
        predictor_dim: of the predictor's hidden layer.
    """
    networks = make_networks(
        model, mlp(dims, last_norm="plain"), mlp((predictor_dim, dims[-1]), last_norm="plain"),
        dims[-1], cosine_momentum(momentum, total_steps))

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        views, extra = networks.views(params, extra, batch, key)
        (q1, q2), (k1, k2) = views.predictions, views.targets
        (nats1, hits1), (nats2, hits2) = (contrast(q, k, temperature)
                                          for q, k in ((q1, k2), (q2, k1)))
        rows = jnp.float32(q1.shape[0])
        metrics = {"embedding_std": spread(views.pooled), "target_std": spread(k1),
                   "positive_first": (hits1 + hits2, 2 * rows)}
        return nats1 + nats2, (rows, extra, metrics)

    return Objective(networks.init, loss, networks.update, student_encoder, coupled=True)
