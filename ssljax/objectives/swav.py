"""SwAV: predict from each view which prototypes the other view was assigned to.

Caron et al. 2020, https://arxiv.org/abs/2006.09882. Reads view1, view2 f32 [B, H, W, C] and, where
the pretext makes them, local f32 [B, V, h, w, C] (multi-crop, section 3.2). Assignments are of the
two large views only, by Sinkhorn over the global batch; with a batch much smaller than the number
of prototypes a queue of earlier embeddings takes part. Evaluation uses the encoder without its
head.
"""

import jax
import jax.numpy as jnp

from ssljax.core.sharding import BATCH, shard
from ssljax.core.types import Batch, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.heads import mlp
from ssljax.families.health import assignment_metrics, spread
from ssljax.families.joint import both_views, branch, local_embeddings, student_encoder, unit
from ssljax.families.prototypes import init_prototypes, prototype_scores, unit_columns
from ssljax.families.queue import init_queue, push
from ssljax.families.sinkhorn import sinkhorn

TINY = {"hidden_dim": 32, "out_dim": 16, "prototypes": 32, "queue_size": 32, "queue_from": 2}


def swapped(codes: list[jax.Array], log_p: list[jax.Array]) -> jax.Array:
    """Return the cross-entropy of predictions by codes, the mean of all pairs, f32 [B].

    Args:
        codes: assignments [B, K] of the first views.
        log_p: log-probabilities [B, K] of all views in the same order; a view never predicts its
            own code.
    """
    pairs = [(t, s) for t in range(len(codes)) for s in range(len(log_p)) if s != t]
    return sum(-jnp.sum(codes[t] * log_p[s], axis=-1) for t, s in pairs) / len(pairs)


def make(model: Model, *, temperature: float = 0.1, epsilon: float = 0.05, iterations: int = 3,
         prototypes: int = 3000, hidden_dim: int = 2048, out_dim: int = 128, freeze_steps: int = 0,
         queue_size: int = 0, queue_from: int = 0) -> Objective:
    """Return SwAV around an encoder that pools.

    Args:
        model: reads image, also of the size of local crops where there are any; returns pooled.
        temperature: of the predictions.
        epsilon: temperature of the assignments; smaller ones are harder.
        iterations: of Sinkhorn.
        prototypes: K, at least several times the classes one hopes for.
        hidden_dim: F of the two-layer head.
        out_dim: E, where embeddings and prototypes meet.
        freeze_steps: steps in which prototypes do not learn, the paper's first epoch.
        queue_size: embeddings of earlier batches that join the assignment, a multiple of the
            batch size; 3,840 for a batch of 256.
        queue_from: step at which they begin to; the paper's 15th epoch.
    """
    net = branch(model, mlp((hidden_dim, out_dim), bias="all"))

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        k_net, k_prototypes, *k_queues = jax.random.split(key, 4)
        params, stats = net.init(k_net, batch["view1"])
        extra = {"stats": stats, "step": jnp.int32(0)}
        if queue_size:
            extra["queues"] = {
                view: init_queue(k, queue_size, out_dim, batch[view].shape[0])
                for view, k in zip(("view1", "view2"), k_queues, strict=True)}
        return {**params, **init_prototypes(k_prototypes, out_dim, prototypes)}, extra

    def assign(scores: jax.Array, queue: PyTree, w: jax.Array, step: jax.Array) -> jax.Array:
        """Return the codes of scores [B, K], with those of a queue in the balance."""
        rows, length = scores.shape[0], queue["queue"].shape[0]
        earlier = prototype_scores(queue["queue"], w)
        used = (jnp.arange(length) < queue["filled"]) & (step >= queue_from)
        both = jnp.concatenate([shard(scores, None, None), shard(earlier, None, None)])
        weights = jnp.concatenate([jnp.ones(rows), used.astype(jnp.float32)])
        codes = sinkhorn(both, temperature=epsilon, iterations=iterations, weights=weights)
        return shard(codes[:rows], BATCH, "tensor")

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        k_views, k_local = jax.random.split(key)
        w, step = params["w_prototypes"], extra["step"]
        w = jnp.where(step < freeze_steps, jax.lax.stop_gradient(w), w)
        z1, z2, pooled, stats = both_views(net, params, extra["stats"], batch, k_views)
        large = [prototype_scores(z, w) for z in (z1, z2)]
        moved = dict(extra)
        if queue_size:
            queues = extra["queues"]
            codes = [assign(scores, queues[view], w, step)
                     for view, scores in zip(("view1", "view2"), large, strict=True)]
            moved["queues"] = {view: push(queues[view], unit(z))
                               for view, z in (("view1", z1), ("view2", z2))}
        else:
            codes = [sinkhorn(s, temperature=epsilon, iterations=iterations) for s in large]
        scores = list(large)
        if "local" in batch:
            z, stats = local_embeddings(net, params, stats, batch["local"], k_local)
            small = prototype_scores(z, w)
            scores += [small[:, v] for v in range(small.shape[1])]
        log_p = [jax.nn.log_softmax(s / temperature, axis=-1) for s in scores]
        metrics = {"embedding_std": spread(pooled),
                   **assignment_metrics(jnp.exp(log_p[0]), "prototype")}
        total = jnp.sum(swapped(codes, log_p))
        return total, (jnp.float32(z1.shape[0]), {**moved, "stats": stats}, metrics)

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        w = unit_columns(params["w_prototypes"])
        return {**params, "w_prototypes": w}, {**extra, "step": step + 1}

    return Objective(init, loss, update, student_encoder, coupled=True)
