"""DINOv2: DINO between crops, iBOT between patches, and class tokens that keep apart.

Oquab et al. 2023, https://arxiv.org/abs/2304.07193 (section 4); Gram anchoring from DINOv3,
Simeoni et al. 2025, https://arxiv.org/abs/2508.10104 (section 4.2). Reads view1, view2 f32
[B, H, W, C], hidden1, hidden2 bool [B, N] (half of the images without any) and, where the pretext
has them, local f32 [B, V, h, w, C]. Evaluation uses the teacher's encoder without its heads; a
network with pool="class_mean" then pools as the paper does, class token beside mean patch.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import BATCH, einsum, shard, take
from ssljax.core.types import Batch, Key, Metrics, Model, Objective, Params, PyTree
from ssljax.families.distillation import Centring, Game, steps_of, warm_temperature
from ssljax.families.joint import unit
from ssljax.families.patch_distillation import patch_round
from ssljax.families.prototypes import prototype_head
from ssljax.families.student_teacher import (
    VIEWS,
    Round,
    crop_round,
    flat,
    make_networks,
    stacked,
)
from ssljax.families.teacher import cosine_momentum, frozen

TINY = {"out_dim": 32, "hidden_dim": 32, "bottleneck_dim": 16, "hold": 0, "gram_weight": 1.0,
        "centring": "sinkhorn"}
Heads = Literal["shared", "separate"]
EPSILON = 1e-8


def koleo(tokens: jax.Array) -> jax.Array:
    """Return -log of the distance of every row [B, D] to the nearest other one, summed over B.

    Sablayrolles et al. 2019, https://arxiv.org/abs/1806.03198, on unit rows. Equal rows are
    EPSILON apart, in value and gradient: a batch with duplicates stays finite. They pull nothing.
    """
    z = unit(tokens)
    # All rows on every device: a batch of them is small beside a network's activations.
    others = shard(z, None, None)
    products = einsum("ID,JD->IJ", z, others, out=(BATCH, None))
    products = jnp.where(jnp.eye(z.shape[0], dtype=bool), -jnp.inf, products)
    nearest = jnp.argmax(jax.lax.stop_gradient(products), axis=1)
    # From differences: 2 - 2 x.y would lose all digits of small distances.
    squared = jnp.sum((z - take(others, nearest, out=(BATCH, None)))**2, axis=1)
    return -jnp.sum(jnp.log(jnp.sqrt(squared + EPSILON**2) + EPSILON))


def gram_error(patches: jax.Array, anchors: jax.Array) -> jax.Array:
    """Return the mean squared difference of the cosines between patches, summed over B.

    Args:
        patches: [B, N, D] of the student.
        anchors: [B, N, D] of the Gram teacher, of the same images.
    """
    ours, theirs = (einsum("BND,BMD->BNM", x, x, out=(BATCH, None, None))
                    for x in (unit(patches), unit(anchors)))
    return jnp.sum(jnp.mean((ours - jax.lax.stop_gradient(theirs))**2, axis=(1, 2)))


class Gram(NamedTuple):
    """When an older teacher's cosines between patches hold the student's.

    start:     first step of it
    every:     steps after which the Gram teacher becomes the teacher of that moment
    refreshes: at most so often after the start
    """

    start: int
    every: int
    refreshes: int

    def is_due(self, step: jax.Array) -> jax.Array:
        """Say whether the Gram teacher is renewed before `step`."""
        passed = step - self.start
        return (passed >= 0) & (passed % self.every == 0) & (passed <= self.refreshes * self.every)

    def renewed(self, extra: PyTree) -> PyTree:
        """Return extra, whose step is the next one, with its Gram teacher renewed where due."""
        due = self.is_due(extra["step"])
        return {**extra, "gram": jax.tree.map(lambda new, old: jnp.where(due, new, old),
                                              extra["teacher"]["encoder"], extra["gram"])}

    def error(self, model: Model, played: Round, batch: Batch) -> jax.Array:
        """Return the mean gram_error of both global views, summed over B; 0 before the start."""
        extra, ours = played.extra, flat(played.seen.patches)
        anchor = frozen(extra["gram"], like=played.student["encoder"])

        def both() -> jax.Array:
            theirs = model.apply(anchor, {"image": flat(stacked(batch, VIEWS))},
                                 stats=extra["teacher_stats"])["patches"]
            return gram_error(ours, theirs) / len(VIEWS)

        # Most of a run is before it: the third network must cost nothing there.
        return jax.lax.cond(extra["step"] >= self.start, both, lambda: jnp.float32(0))


def make(model: Model, *, total_steps: int, out_dim: int = 4096, hidden_dim: int = 2048,
         bottleneck_dim: int = 256, heads: Heads = "shared", patch_weight: float = 1.0,
         koleo_weight: float = 0.1, gram_weight: float = 0.0, gram_start: float = 0,
         gram_every: int = 10_000, gram_refreshes: int = 3, max_hidden: float = 0.5,
         temperature: float = 0.1, teacher_temperature: float = 0.07,
         teacher_start: float = 0.04, teacher_warmup: float = 0.3, centring: Centring = "centre",
         centre_momentum: float = 0.9, momentum: float = 0.992, hold: float = 0.01) -> Objective:
    """Return DINOv2 around a vision transformer with class and mask token.

    Args:
        model: reads image and hidden, returns class [B, D] and patches [B, N, D].
        total_steps: steps of the run; the teacher's momentum reaches 1 there.
        out_dim: K, the prototypes of a head; 65,536 on ImageNet.
        hidden_dim: F of the heads' two hidden layers.
        bottleneck_dim: E, where heads compare with prototypes.
        heads: one for class tokens and patches, or one each.
        patch_weight: of the nats of hidden patches.
        koleo_weight: of keeping class tokens apart; within each global view, never across.
        gram_weight: of staying near an older teacher's cosines between patches; 2 in DINOv3.
            0 leaves that teacher out.
        gram_start: when this begins: a fraction of the run, or from 1 on steps.
        gram_every: steps after which the Gram teacher becomes the teacher of that moment,
        gram_refreshes: at most so often.
        max_hidden: largest fraction of patches that the pretext hides.
        temperature: the student's.
        teacher_temperature: the teacher's after its warm-up,
        teacher_start: and at the first step.
        teacher_warmup: length of that warm-up: a fraction of the run, or from 1 on steps.
        centring: what keeps all prototypes in use: moving centres, or Sinkhorn's assignments.
        centre_momentum: what the centres keep of themselves.
        momentum: what the teacher keeps of itself at first; 0.9995 in long runs at batch 256.
        hold: how long prototypes get no gradient: a fraction of the run, or from 1 on steps.

    Raises:
        ConfigError: numbers of Gram anchoring that cannot work.
    """
    if gram_every < 1 or gram_refreshes < 0:
        raise ConfigError(f"gram_every {gram_every}, gram_refreshes {gram_refreshes}: expected at "
                          "least 1 step and 0 refreshes.")
    warm = warm_temperature(teacher_start, teacher_temperature,
                            steps_of(teacher_warmup, total_steps))
    game = Game(temperature, warm, centring, centre_momentum)
    patch_head = "class_head" if heads == "shared" else "patch_head"
    head = prototype_head((hidden_dim, hidden_dim, bottleneck_dim), out_dim)
    networks = make_networks(model, dict.fromkeys(("class_head", patch_head), head),
                             cosine_momentum(momentum, total_steps),
                             centres=dict.fromkeys(("class_centre", "patch_centre"), out_dim),
                             hold_steps=steps_of(hold, total_steps), masked=True)
    gram = Gram(steps_of(gram_start, total_steps), gram_every, gram_refreshes)

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        params, extra = networks.init(key, batch)
        copy = {"gram": jax.tree.map(jnp.copy, params["encoder"])} if gram_weight else {}
        return params, {**extra, **copy}

    def loss(params: Params, extra: PyTree, batch: Batch, key: Key,
             ) -> tuple[jax.Array, tuple[jax.Array, PyTree, Metrics]]:
        played = crop_round(networks, game, params, extra, batch, key)
        nats, moved, metrics = patch_round(head, patch_head, game, played, batch, max_hidden)
        apart = sum(koleo(played.seen.tokens[:, view]) for view in range(len(VIEWS)))
        total = played.nats + patch_weight * nats + koleo_weight * apart
        weight = jnp.float32(batch["view1"].shape[0])
        metrics = {**played.metrics, **metrics, "koleo": (apart / len(VIEWS), weight)}
        if gram_weight:
            error = gram.error(model, played, batch)
            total, metrics["gram_error"] = total + gram_weight * error, (error, weight)
        return total, (weight, moved, metrics)

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        params, extra = networks.update(params, extra, step)
        return params, gram.renewed(extra) if gram_weight else extra

    return Objective(init, loss, update, networks.encoder, coupled=True)
