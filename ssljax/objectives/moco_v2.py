"""MoCo v2: contrast with a queue of what a slowly moving copy made of earlier images.

He et al. 2020, https://arxiv.org/abs/1911.05722 (algorithm 1), with the head and temperature of
Chen et al. 2020, https://arxiv.org/abs/2003.04297. Reads view1 (queries) and view2 (keys)
f32 [B, H, W, C]. Evaluation uses the student's encoder. symmetric=True is the MoCo v2+ of
solo-learn, https://jmlr.org/papers/v23/21-1155.html: each view is the query once, beside a queue of
the other's keys.

Batch norm here is over the global batch, so shuffling rows between devices (section 3.3 of the
paper) would change nothing: no key's statistics tell which query is its own. What is left of the
leak is that all keys of a batch share statistics which those in the queue do not have, less so the
larger the batch. key_norm="teacher" closes it: the teacher normalises by moving averages of the
student's statistics (Cai et al. 2021, https://arxiv.org/abs/2101.08482).
"""

from typing import Literal

import jax
import jax.numpy as jnp

from ssljax.core.sharding import BATCH, shard
from ssljax.core.types import Batch, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.heads import mlp
from ssljax.families.health import spread
from ssljax.families.joint import branch, first_hits, similarities, student_encoder, unit
from ssljax.families.queue import init_queue, push
from ssljax.families.teacher import cosine_momentum, ema, frozen
from ssljax.nn.loss import cross_entropy

TINY = {"hidden_dim": 32, "out_dim": 16, "queue_size": 64, "momentum": 0.9}


def contrast(queries: jax.Array, keys: jax.Array, queue: jax.Array, temperature: float,
             ) -> tuple[jax.Array, jax.Array]:
    """Return the nats of each query's key among itself and the queue, summed, and first places.

    Args:
        queries: unit rows [B, E].
        keys: unit rows [B, E]; the key of a row is its positive.
        queue: unit rows [K, E]; all of them are negatives.
        temperature: tau.
    """
    own = jnp.sum(queries * keys, axis=-1, keepdims=True)
    logits = jnp.concatenate([shard(own, BATCH, None), similarities(queries, queue)], axis=1)
    first = jnp.zeros(queries.shape[0], jnp.int32)
    logits /= temperature
    return jnp.sum(cross_entropy(logits, first)), first_hits(logits, first)


def make(model: Model, *, total_steps: int = 0, temperature: float = 0.2, momentum: float = 0.999,
         final_momentum: float | None = None, queue_size: int = 65536, hidden_dim: int = 2048,
         out_dim: int = 128, symmetric: bool = False,
         key_norm: Literal["batch", "teacher"] = "batch") -> Objective:
    """Return MoCo v2 around an encoder that pools.

    Args:
        model: reads image, returns pooled [B, D].
        total_steps: of the run, which supplies it.
        temperature: of the similarities.
        momentum: of the teacher; 0.99 to 0.996 for runs of few steps.
        final_momentum: where half a cosine brings it over the run; it stays unless told.
        queue_size: keys that are kept, a multiple of the batch size; 4,096 to 32,768 for CIFAR.
        hidden_dim: F of the two-layer head.
        out_dim: E, where the loss compares.
        symmetric: whether view2 is the query too; the loss is the mean of both.
        key_norm: what the teacher's batch norms take: the batch's statistics, or moving averages.
    """
    end = momentum if final_momentum is None else final_momentum
    momentum_at = cosine_momentum(momentum, total_steps, end)
    net = branch(model, mlp((hidden_dim, out_dim), norm="none"))

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        k_net, k_queue = jax.random.split(key)
        params, stats = net.init(k_net, batch["view1"])
        rows = batch["view1"].shape[0]
        queues = {"keys": init_queue(k_queue, queue_size, out_dim, rows)}
        if symmetric:
            queues["keys1"] = init_queue(jax.random.fold_in(k_queue, 1), queue_size, out_dim, rows)
        # Copies: student and teacher in one array cannot both be donated to a step.
        return params, {"stats": stats, "teacher": jax.tree.map(jnp.copy, params),
                        "teacher_stats": jax.tree.map(jnp.copy, stats), **queues}

    def one_way(params: Params, extra: PyTree, batch: Batch, key: Key,
                ) -> tuple[jax.Array, jax.Array, Metrics, PyTree]:
        """Return the summed nats and first places of view1 as query, and extra moved on."""
        q, pooled, stats = net.apply(params, extra["stats"], batch["view1"], key)
        k, _, teacher_stats = net.apply(
            frozen(extra["teacher"], like=params), extra["teacher_stats"], batch["view2"], None,
            key_norm == "batch")
        q, k = unit(q), unit(k)
        nats, hits = contrast(q, k, extra["keys"]["queue"], temperature)
        metrics = {"embedding_std": spread(pooled), "target_std": spread(k)}
        moved = {**extra, "stats": stats, "teacher_stats": teacher_stats,
                 "keys": push(extra["keys"], k)}
        return nats, hits, metrics, moved

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        nats, hits, metrics, moved = one_way(params, extra, batch, key)
        if symmetric:
            other = {"view1": batch["view2"], "view2": batch["view1"]}
            crossed = {**moved, "keys": moved["keys1"]}
            back, more, _, crossed = one_way(params, crossed, other, jax.random.fold_in(key, 1))
            moved = {**crossed, "keys": moved["keys"], "keys1": crossed["keys"]}
            nats, hits = (nats + back) / 2, (hits + more) / 2
        rows = jnp.float32(batch["view1"].shape[0])
        return nats, (rows, moved, {**metrics, "positive_first": (hits, rows)})

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        keep = momentum_at(step)
        moved = {"teacher": ema(extra["teacher"], params, keep)}
        if key_norm == "teacher":
            moved["teacher_stats"] = ema(extra["teacher_stats"], extra["stats"], keep)
        return params, {**extra, **moved}

    return Objective(init, loss, update, student_encoder, coupled=True)
