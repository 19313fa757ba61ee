"""A student that sees all crops, with hidden patches, and a teacher that sees whole global ones.

The networks of DINO, iBOT and DINOv2 (https://arxiv.org/abs/2104.14294, 2111.07832, 2304.07193):
what differs between the three is the loss. Parameters are an encoder and heads by name; the
teacher in `extra` is their exponential moving average. Evaluation uses the teacher's encoder.
Crops of one size are one batch, as in DINO's code: a batch norm sees both global views.
Shapes: B images, V local crops, N patches, D width, K prototypes.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssljax.core.errors import ConfigError
from ssljax.core.sharding import BATCH, reshape, shard
from ssljax.core.types import Batch, Inputs, Key, Metrics, Model, Outputs, Params, PyTree
from ssljax.families.distillation import Game, cross_view_nats, held, moved_centre
from ssljax.families.heads import Head
from ssljax.families.health import assignment_metrics, spread
from ssljax.families.teacher import Momentum, ema, frozen

VIEWS, HIDDEN = ("view1", "view2"), ("hidden1", "hidden2")
PARTITION = {"class_centre": ("tensor",), "patch_centre": ("tensor",)}            # [K]


class Crops(NamedTuple):
    """What a network made of the crops of a batch.

    tokens:  [B, 2, D] of the global views, what the class head reads
    patches: [B, 2, N, D] of the global views, where the network has patches
    scores:  [B, 2, K] of the global views
    local:   [B, V, K] of the local crops, or None
    """

    tokens: jax.Array
    patches: jax.Array | None
    scores: jax.Array
    local: jax.Array | None


class Networks(NamedTuple):
    """A student and its teacher as pure functions.

    init:    (key, batch) -> (params, extra); extra has teacher, stats, teacher_stats, step and
             the centres
    student: (params, extra, batch, key) -> (Crops, stats, params as they take gradients)
    teacher: (params, extra, batch) -> (Crops, stats, the teacher's params in the compute dtype)
    update:  (params, extra, step) -> (params, extra): the teacher follows the moved student
    encoder: (params, extra) -> the teacher's encoder and its statistics
    """

    init: Callable[[Key, Batch], tuple[Params, PyTree]]
    student: Callable[..., tuple[Crops, PyTree, Params]]
    teacher: Callable[..., tuple[Crops, PyTree, Params]]
    update: Callable[[Params, PyTree, jax.Array], tuple[Params, PyTree]]
    encoder: Callable[[Params, PyTree], tuple[Params, PyTree]]


def class_token(outputs: Outputs) -> jax.Array:
    """Return what stands for the whole image: the class token, or what is pooled without one."""
    return outputs.get("class", outputs["pooled"])


def make_networks(model: Model, heads: Mapping[str, Head], momentum: Momentum, *,
                  centres: Mapping[str, int], hold_steps: int, masked: bool) -> Networks:
    """Return student and teacher.

    Args:
        model: reads image of any of the crops' sizes, and hidden where `masked`.
        heads: name -> head; "class_head" is one of them. All read tokens of the encoder.
        momentum: step -> what the teacher keeps of itself.
        centres: name -> K, those of the heads' scores; "class_centre" is one of them.
        hold_steps: steps in which the student's prototypes get no gradient.
        masked: whether the student's global views have hidden patches, hidden1 and hidden2.
    """
    def inputs(batch: Batch, masks: bool) -> Inputs:
        whole = {"image": flat(stacked(batch, VIEWS))}
        return whole | ({"hidden": flat(stacked(batch, HIDDEN))} if masks else {})

    def init(key: Key, batch: Batch) -> tuple[Params, PyTree]:
        check(batch, masked)
        k_encoder, k_heads = jax.random.split(key)
        whole = inputs(batch, masked)
        encoder, stats = model.init(k_encoder, whole)
        apply = lambda params: model.apply(params, whole, stats=stats)  # noqa: E731
        outputs = jax.eval_shape(apply, encoder)
        if masked and "patches" not in outputs:
            raise ConfigError("The model returns no patches, which this objective compares; use "
                              'dict(name="vit", ...).')
        width = class_token(outputs).shape[-1]
        params = {"encoder": encoder}
        for number, (name, head) in enumerate(heads.items()):
            params[name], _ = head.init(jax.random.fold_in(k_heads, number), width)
        # Copies: a student and a teacher that are one array cannot both be donated to a step.
        extra = {name: jnp.zeros(k) for name, k in centres.items()}
        return params, {**extra, "teacher": jax.tree.map(jnp.copy, params), "stats": stats,
                        "teacher_stats": jax.tree.map(jnp.copy, stats), "step": jnp.int32(0)}

    def crops(params: Params, outputs: Outputs, local: jax.Array | None) -> Crops:
        tokens, patches = class_token(outputs), outputs.get("patches")
        count = tokens.shape[0] // len(VIEWS)
        tokens = grouped(tokens, count)
        return Crops(tokens, None if patches is None else grouped(patches, count),
                     score(params, tokens), local)

    def score(params: Params, tokens: jax.Array) -> jax.Array:
        return heads["class_head"].apply(params["class_head"], {}, tokens, train=True)[0]

    def student(params: Params, extra: PyTree, batch: Batch, key: Key,
                ) -> tuple[Crops, PyTree, Params]:
        params, stats, local = held(params, extra["step"], hold_steps), extra["stats"], None
        k_views, k_local = jax.random.split(key)
        views = model.apply(params["encoder"], inputs(batch, masked), stats=stats, key=k_views,
                            train=True)
        stats = views["stats"]
        if "local" in batch:
            outputs = model.apply(params["encoder"], {"image": flat(batch["local"])}, stats=stats,
                                  key=k_local, train=True)
            local = score(params, grouped(class_token(outputs), batch["local"].shape[0]))
            stats = outputs["stats"]
        return crops(params, views, local), stats, params

    def teacher(params: Params, extra: PyTree, batch: Batch) -> tuple[Crops, PyTree, Params]:
        params, stats = frozen(extra["teacher"], like=params), extra["teacher_stats"]
        # Batch norms use the batch, but no path is dropped: a network has one or the other.
        views = model.apply(params["encoder"], inputs(batch, False), stats=stats,
                            train=bool(jax.tree.leaves(stats)))
        return crops(params, views, None), views["stats"], params

    def update(params: Params, extra: PyTree, step: jax.Array) -> tuple[Params, PyTree]:
        teacher = ema(extra["teacher"], params, momentum(step))
        return params, {**extra, "teacher": teacher, "step": step.astype(jnp.int32) + 1}

    def encoder(params: Params, extra: PyTree) -> tuple[Params, PyTree]:
        return extra["teacher"]["encoder"], extra["teacher_stats"]

    return Networks(init, student, teacher, update, encoder)


class Round(NamedTuple):
    """What a batch's crops came to.

    nats:    float32 [], summed over B
    seen:    the student's crops
    known:   the teacher's
    student: parameters as they take gradients
    teacher: parameters
    extra:   moved: statistics and the centre of class tokens
    metrics: name -> (sum, weight)
    """

    nats: jax.Array
    seen: Crops
    known: Crops
    student: Params
    teacher: Params
    extra: PyTree
    metrics: Metrics


def crop_round(networks: Networks, game: Game, params: Params, extra: PyTree, batch: Batch,
               key: Key) -> Round:
    """Play DINO between the crops of a batch."""
    seen, stats, student = networks.student(params, extra, batch, key)
    known, teacher_stats, teacher = networks.teacher(params, extra, batch)
    centre = extra["class_centre"]
    targets = game.targets(known.scores, centre, extra["step"])
    nats = cross_view_nats(targets, seen.scores, seen.local, game.temperature)
    # The centre moves after its use: a batch's own mean in its targets would leak.
    moved = {**extra, "stats": stats, "teacher_stats": teacher_stats,
             "class_centre": moved_centre(centre, known.scores, game.centre_momentum)}
    metrics = {"embedding_std": spread(known.tokens[:, 0]), **assignment_metrics(targets),
               "class_nats": (nats, jnp.float32(targets.shape[0]))}
    return Round(nats, seen, known, student, teacher, moved, metrics)


def check(batch: Batch, masked: bool) -> None:
    """Raise ConfigError unless the batch has the crops that the networks read."""
    wanted = VIEWS + HIDDEN * masked
    if missing := [name for name in wanted if name not in batch]:
        raise ConfigError(f"The batch has no {', '.join(missing)}; use the pretext multi_crop"
                          f"{' with a patch_size, which hides patches' if masked else ''}. It "
                          f"has {', '.join(sorted(batch))}.")


def stacked(batch: Batch, names: tuple[str, ...]) -> jax.Array:
    """Return arrays [B, ...] of a batch side by side, [B, 2, ...]."""
    return jnp.stack([shard(batch[n], BATCH, *(None,) * (batch[n].ndim - 1)) for n in names],
                     axis=1)


def flat(crops: jax.Array) -> jax.Array:
    """Return crops [B, V, ...] as a batch of B V images."""
    b, v, *rest = crops.shape
    return reshape(crops, (b * v, *rest), (BATCH, *(None,) * len(rest)))


def grouped(x: jax.Array, count: int) -> jax.Array:
    """Return x [B V, ...] of `count` images as [B, V, ...]."""
    shape = (count, x.shape[0] // count, *x.shape[1:])
    return reshape(x, shape, (BATCH, *(None,) * (len(shape) - 1)))
