"""DINO against its equations, and the order in which student, teacher and centre move."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.objectives import dino
from tests.objectives import crop_network
from tests.objectives.crop_network import head_in_numpy, in_numpy, softmax

K = dino.TINY["out_dim"]
BATCH = {n: x for n, x in crop_network.batch().items() if not n.startswith("hidden")}


@functools.cache
def objective(**options):
    words = {**dino.TINY, "centre_momentum": 0.9, **options}
    return dino.make(crop_network.make(), total_steps=100, **words)


@functools.cache
def state():
    """Parameters, and an extra in which teacher, centre and step are not those of the start."""
    params, extra = jax.jit(objective().init)(jax.random.key(0), BATCH)
    other, _ = jax.jit(objective().init)(jax.random.key(1), BATCH)
    centre = jnp.linspace(-0.3, 0.3, K)
    return params, {**extra, "teacher": other, "class_centre": centre, "step": jnp.int32(15)}


@functools.cache
def loss_and_grads():
    params, extra = state()

    def loss(params, extra):
        # Integers carry no gradient.
        return objective().loss(params, {**extra, "step": jnp.int32(15)}, BATCH,
                                jax.random.key(2))

    floats = {n: x for n, x in extra.items() if n != "step"}
    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(params, floats)


def reference() -> float:
    """Algorithm 1 in float64 with the network in loops: temperature .055 in mid warm-up."""
    params, extra = state()
    score = lambda p, x: head_in_numpy(p["class_head"], in_numpy(p["encoder"], x)[0])  # noqa: E731
    told = [score(extra["teacher"], BATCH[v]) for v in ("view1", "view2")]
    targets = [softmax((t - np.asarray(extra["class_centre"])) / 0.055) for t in told]
    crops = [BATCH["view1"], BATCH["view2"], *np.moveaxis(np.asarray(BATCH["local"]), 1, 0)]
    named = [np.log(softmax(score(params, c) / 0.1)) for c in crops]
    pairs = [-np.sum(targets[i] * named[v]) for i in range(2) for v in range(5) if v != i]
    return sum(pairs) / len(pairs)


def test_loss_equals_the_loop_over_images_crops_and_prototypes():
    (total, (weight, _, metrics)), _ = loss_and_grads()
    assert float(total) == pytest.approx(reference(), rel=1e-5)
    assert weight == 4
    assert {"embedding_std", "teacher_entropy", "teacher_kl_uniform", "teacher_use"} <= set(metrics)


def test_no_gradient_reaches_the_teacher_or_the_centre():
    _, (grads, of_extra) = loss_and_grads()
    assert all(np.abs(g).max() == 0 for g in jax.tree.leaves(of_extra))
    moved = {jax.tree_util.keystr(p): float(np.abs(g).max())
             for p, g in jax.tree_util.tree_leaves_with_path(grads)}
    assert moved.pop("['encoder']['mask_token']") == 0
    assert min(moved.values()) > 0


def test_the_centre_moves_after_its_use():
    _, extra = state()
    (_, (_, moved, _)), _ = loss_and_grads()
    told = [head_in_numpy(extra["teacher"]["class_head"],
                          in_numpy(extra["teacher"]["encoder"], BATCH[v])[0])
            for v in ("view1", "view2")]
    want = 0.9 * np.asarray(extra["class_centre"]) + 0.1 * np.mean(told, axis=(0, 1))
    np.testing.assert_allclose(moved["class_centre"], want, rtol=1e-4, atol=1e-6)


def test_the_teacher_follows_the_student_that_the_optimizer_has_moved():
    params, extra = state()
    student = jax.tree.map(lambda x: x + 1, params)
    _, after = objective().update(student, extra, jnp.int32(15))
    momentum = 1 - (1 - 0.996) * (np.cos(np.pi * 0.15) + 1) / 2
    for old, new, now in zip(*map(jax.tree.leaves, (extra["teacher"], student, after["teacher"])),
                             strict=True):
        np.testing.assert_allclose(now, momentum * old + (1 - momentum) * new, rtol=1e-5,
                                   atol=1e-6)
    assert after["step"] == 16
    encoder, _ = objective().encoder(student, after)
    assert encoder is after["teacher"]["encoder"]


def test_views_may_change_places_and_local_crops_their_order():
    params, extra = state()
    (total, _), _ = loss_and_grads()
    other = {"view1": BATCH["view2"], "view2": BATCH["view1"], "local": BATCH["local"][:, ::-1]}
    swapped, _ = jax.jit(objective().loss)(params, extra, other, jax.random.key(2))
    assert float(swapped) == pytest.approx(float(total), rel=1e-5)


def test_prototypes_are_held_at_first_and_a_batch_without_crops_is_refused():
    params, extra = state()
    holding = objective(hold=20)
    grads = jax.jit(jax.grad(lambda p: holding.loss(p, extra, BATCH, jax.random.key(2))[0]))(params)
    assert np.abs(grads["class_head"]["w_prototypes"]).max() == 0
    assert np.abs(grads["class_head"]["mlp"]["layer0"]["w_head_up"]).max() > 0
    with pytest.raises(ConfigError, match="multi_crop"):
        holding.init(jax.random.key(0), {"view1": BATCH["view1"]})


def test_every_image_alike_is_named_alike_unless_sinkhorn_spreads_them():
    alike = {n: jnp.broadcast_to(x[:1], x.shape) for n, x in BATCH.items()}
    params, extra = state()
    uses = {}
    for centring in ("centre", "sinkhorn"):
        loss = jax.jit(objective(centring=centring).loss)
        _, (_, _, metrics) = loss(params, extra, alike, jax.random.key(2))
        uses[centring] = float(metrics["teacher_use"][0] / metrics["teacher_use"][1])
    assert uses["sinkhorn"] > 0.99
    assert uses["centre"] < 0.9
