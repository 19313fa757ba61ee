"""BYOL: predict what a slowly moving copy of oneself makes of the other view; no negatives.

Grill et al. 2020, https://arxiv.org/abs/2006.07733. Reads view1, view2 f32 [B, H, W, C]. The
teacher (the paper's target network) is in training mode with batch statistics of its own, as in
the authors' code. Evaluation uses the student's encoder.
"""

import jax
import jax.numpy as jnp

from ssljax.core.types import Batch, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.heads import mlp
from ssljax.families.health import spread
from ssljax.families.joint import cosine, student_encoder
from ssljax.families.self_prediction import make_networks
from ssljax.families.teacher import cosine_momentum

TINY = {"hidden_dim": 32, "out_dim": 16, "momentum": 0.9}


def distances(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Return the squared distance of unit rows, f32 [B] (equation 2): 2 - 2 cosine of [B, E]."""
    return 2 - 2 * cosine(predictions, targets)


def make(model: Model, *, total_steps: int, momentum: float = 0.996, hidden_dim: int = 4096,
         out_dim: int = 256) -> Objective:
    """Return BYOL around an encoder that pools.

    Args:
        model: reads image, returns pooled [B, D].
        total_steps: length of the run, over which the momentum rises to 1.
        momentum: of the teacher at the first step; 0.99 for 100 to 300 epochs, 0.996 for 1000.
        hidden_dim: F of projector and predictor, each of two layers.
        out_dim: E of both.
    """
    sizes = (hidden_dim, out_dim)
    networks = make_networks(model, mlp(sizes, bias="none"), mlp(sizes, bias="none"), out_dim,
                             cosine_momentum(momentum, total_steps))

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        views, extra = networks.views(params, extra, batch, key)
        (p1, p2), (t1, t2) = views.predictions, views.targets
        total = jnp.sum(distances(p1, t2) + distances(p2, t1))
        metrics = {"embedding_std": spread(views.pooled), "target_std": spread(t1)}
        return total, (jnp.float32(p1.shape[0]), extra, metrics)

    return Objective(networks.init, loss, networks.update, student_encoder, coupled=True)
