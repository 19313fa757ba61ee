"""SimSiam: predict the other view's projection through a stop-gradient; no negatives, no teacher.

Chen and He 2021, https://arxiv.org/abs/2011.10566. Reads view1, view2 f32 [B, H, W, C]. What keeps
it from collapsing is the stop-gradient: `embedding_std` near 0 says that it did (section 4.1).
Evaluation uses the encoder without its heads.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ssljax.core.types import Batch, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.heads import mlp
from ssljax.families.health import spread
from ssljax.families.joint import cosine, student_encoder
from ssljax.families.self_prediction import make_networks

TINY = {"hidden_dims": (32, 32), "out_dim": 32, "bottleneck_dim": 16}


def negative_cosines(predictions: jax.Array, projections: jax.Array) -> jax.Array:
    """Return -cosine of each row of predictions [B, E] with that of projections, f32 [B].

    Equation 1, with the stop-gradient of equation 3 on the projections.
    """
    return -cosine(predictions, jax.lax.stop_gradient(projections))


def make(model: Model, *, hidden_dims: Sequence[int] = (2048, 2048), out_dim: int = 2048,
         bottleneck_dim: int = 512) -> Objective:
    """Return SimSiam around an encoder that pools.

    Args:
        model: reads image, returns pooled [B, D].
        hidden_dims: of the projector, one for each hidden layer; the paper's CIFAR runs have one.
        out_dim: E of projector and predictor.
        bottleneck_dim: of the predictor's hidden layer.
    """
    networks = make_networks(model, mlp((*hidden_dims, out_dim), last_norm="plain"),
                             mlp((bottleneck_dim, out_dim)), out_dim, None)

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        views, extra = networks.views(params, extra, batch, key)
        (p1, p2), (z1, z2) = views.predictions, views.targets
        total = jnp.sum(negative_cosines(p1, z2) + negative_cosines(p2, z1)) / 2
        metrics = {"embedding_std": spread(views.pooled), "projection_std": spread(z1)}
        return total, (jnp.float32(p1.shape[0]), extra, metrics)

    return Objective(networks.init, loss, networks.update, student_encoder, coupled=True)
