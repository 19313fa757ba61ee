"""A student that predicts what a target network makes of the other view of an image.

BYOL (https://arxiv.org/abs/2006.07733), MoCo v3 (https://arxiv.org/abs/2104.02057) and SimSiam
(https://arxiv.org/abs/2011.10566) differ in heads, loss and whether the target is a teacher or the
student itself without a gradient. Shapes: B images, E embedding, D pooled.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssljax.core.types import Batch, Key, Model, Params, PyTree
from ssljax.families.heads import Head
from ssljax.families.joint import both_views, branch, unmoved
from ssljax.families.teacher import Momentum, ema, frozen


class Views(NamedTuple):
    """What the networks made of the two views of a batch.

    predictions: p1, p2 [B, E] of the student
    targets:     t1, t2 [B, E], without gradient; t2 is what p1 predicts
    pooled:      [B, D] of the student's first view
    """

    predictions: tuple[jax.Array, jax.Array]
    targets: tuple[jax.Array, jax.Array]
    pooled: jax.Array


class Networks(NamedTuple):
    """Student, predictor and target as pure functions.

    init:   (key, batch) -> (params, extra)
    views:  (params, extra, batch, key) -> (Views, extra with moved batch statistics)
    update: (params, extra, step) -> (params, extra): the teacher follows the moved student
    """

    init: Callable[[Key, Batch], tuple[Params, PyTree]]
    views: Callable[[Params, PyTree, Batch, Key], tuple[Views, PyTree]]
    update: Callable[[Params, PyTree, jax.Array], tuple[Params, PyTree]]


def teacher_part(params: Params) -> Params:
    """Return what of a student's weights a teacher copies: a branch, without a predictor."""
    return {"encoder": params["encoder"], "head": params["head"]}


def make_networks(model: Model, projector: Head, predictor: Head, width: int,
                  momentum: Momentum | None) -> Networks:
    """Return the networks around an encoder that pools.

    Args:
        model: reads image, returns pooled [B, D].
        projector: of student and teacher.
        predictor: of the student alone.
        width: E of the projector.
        momentum: step -> what the teacher keeps of itself; None: the target is the student.
    """
    net = branch(model, projector)

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        k_net, k_predictor = jax.random.split(key)
        student, stats = net.init(k_net, batch["view1"])
        top, top_stats = predictor.init(k_predictor, width)
        extra = {"stats": {**stats, "predictor": top_stats}}
        if momentum is not None:
            # Copies: student and teacher in one array cannot both be donated to a step.
            extra |= {"teacher": jax.tree.map(jnp.copy, student),
                      "teacher_stats": jax.tree.map(jnp.copy, stats)}
        return {**student, "predictor": top}, extra

    def views(params: Params, extra: PyTree, batch: Batch, key: Key) -> tuple[Views, PyTree]:
        z1, z2, pooled, stats = both_views(net, params, extra["stats"], batch, key)
        top, predictions = extra["stats"]["predictor"], []
        for z in (z1, z2):
            p, top = predictor.apply(params["predictor"], top, z, train=True)
            predictions.append(p)
        moved = {**extra, "stats": {**stats, "predictor": top}}
        targets = (jax.lax.stop_gradient(z1), jax.lax.stop_gradient(z2))
        if momentum is not None:
            # In training mode, with batch statistics of its own; without a key nothing is dropped.
            teacher = frozen(extra["teacher"], like=teacher_part(params))
            *targets, _, moved["teacher_stats"] = both_views(
                net, teacher, extra["teacher_stats"], batch, None)
        return Views(tuple(predictions), tuple(targets), pooled), moved

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        return params, {**extra, "teacher": ema(extra["teacher"], teacher_part(params),
                                                momentum(step))}

    return Networks(init, views, unmoved if momentum is None else update)
