"""The patch game of iBOT and DINOv2: name a hidden patch as the teacher, which sees it, names it.

Zhou et al. 2022, https://arxiv.org/abs/2111.07832 (equation 2). Shapes: B images, N patches, M of
them scored, D width, K prototypes.
"""

import math

import jax
import jax.numpy as jnp

from ssljax.core.sharding import per_example
from ssljax.core.types import Batch, Metrics, Params, PyTree
from ssljax.families.distillation import Game, masked_nats, moved_centre
from ssljax.families.heads import Head
from ssljax.families.health import assignment_metrics
from ssljax.families.student_teacher import HIDDEN, Round, stacked


def scored_count(num_patches: int, fraction: float) -> int:
    """Return M, how many patches of an image can be scored."""
    return min(num_patches, max(1, math.ceil(num_patches * fraction)))


def hidden_first(hidden: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Return i32 [count], the first hidden patches of bool [N], and float32 [count], 1 on those.

    Where fewer are hidden others fill the rest, with weight 0: shapes cannot depend on a mask.
    """
    chosen = jnp.argsort(~hidden, stable=True)[:count]
    return chosen, hidden[chosen].astype(jnp.float32)


def patch_round(head: Head, name: str, game: Game, played: Round, batch: Batch,
                max_hidden: float) -> tuple[jax.Array, PyTree, Metrics]:
    """Play iBOT between the patches of both global views.

    Args:
        head: scores tokens.
        name: of its weights.
        game: how scores become targets.
        played: the round between crops.
        batch: hidden1 and hidden2, bool [B, N].
        max_hidden: largest fraction of patches that a mask hides; what is over it is not scored.
            Only so many go through the head: scores of all would be most of a step's memory.

    Returns:
        The mean nats over both views and their hidden patches, summed over B; the round's extra
        with the centre of patches moved; and metrics.
    """
    hidden = stacked(batch, HIDDEN)
    count = scored_count(hidden.shape[-1], max_hidden)
    chosen, weights = per_example(jax.vmap(lambda row: hidden_first(row, count)))(hidden)

    def scores(params: Params, patches: jax.Array) -> jax.Array:
        tokens = per_example(jax.vmap(lambda rows, ids: rows[ids]))(patches, chosen)
        return head.apply(params[name], {}, tokens, train=True)[0]

    extra = played.extra
    known = scores(played.teacher, played.known.patches)
    targets = game.targets(known, extra["patch_centre"], extra["step"], weights)
    nats = masked_nats(targets, scores(played.student, played.seen.patches), weights,
                       game.temperature) / len(HIDDEN)
    centre = moved_centre(extra["patch_centre"], known, game.centre_momentum, weights)
    metrics = {"patch_nats": (nats, jnp.float32(targets.shape[0])),
               **assignment_metrics(targets, "patch")}
    return nats, {**extra, "patch_centre": centre}, metrics
