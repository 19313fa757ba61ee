"""DINOv2's own terms against loops in float64; what it shares is tested with DINO and iBOT."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.objectives import dinov2
from tests.objectives import crop_network
from tests.objectives.crop_network import in_numpy

RNG = np.random.default_rng(0)
BATCH = crop_network.batch()


@functools.cache
def objective(**options):
    words = {**dinov2.TINY, "centring": "centre", **options}
    return dinov2.make(crop_network.make(), total_steps=100, **words)


@functools.cache
def state(**options):
    params, extra = jax.jit(objective(**options).init)(jax.random.key(0), BATCH)
    other, _ = jax.jit(objective(**options).init)(jax.random.key(1), BATCH)
    return params, {**extra, "teacher": other, "gram": other["encoder"], "step": jnp.int32(60)}


@functools.cache
def loss(**options):
    params, extra = state(**{n: v for n, v in options.items() if n == "heads"})
    return jax.jit(objective(**options).loss)(params, extra, BATCH, jax.random.key(2))


def mean(metrics) -> dict[str, float]:
    return {n: float(s / w) for n, (s, w) in metrics.items()}


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def koleo_by_loop(tokens: np.ndarray) -> float:
    z, total = unit(tokens), 0.0
    for i in range(len(z)):
        nearest = min(np.linalg.norm(z[i] - z[j]) for j in range(len(z)) if j != i)
        total -= np.log(nearest + 1e-8)
    return total


def gram_by_loop(ours: np.ndarray, theirs: np.ndarray) -> float:
    total = 0.0
    for x, y in zip(unit(ours), unit(theirs), strict=True):
        total += np.mean([(x[i] @ x[j] - y[i] @ y[j])**2
                          for i in range(len(x)) for j in range(len(x))])
    return total


def test_koleo_equals_the_loop_over_pairs_also_of_near_rows():
    tokens = RNG.normal(size=(9, 5))
    tokens[4] = tokens[2] + 1e-4 * RNG.normal(size=5)
    assert float(dinov2.koleo(jnp.asarray(tokens))) == pytest.approx(koleo_by_loop(tokens),
                                                                     rel=1e-3)
    far = RNG.normal(size=(9, 5))
    assert float(dinov2.koleo(jnp.asarray(far))) == pytest.approx(koleo_by_loop(far), rel=1e-5)


def test_koleo_gradient_equals_finite_differences_of_the_loop():
    tokens = RNG.normal(size=(6, 3))
    grad = jax.grad(dinov2.koleo)(jnp.asarray(tokens))
    for index in ((0, 1), (5, 2)):
        step = np.zeros_like(tokens)
        step[index] = 1e-6
        slope = (koleo_by_loop(tokens + step) - koleo_by_loop(tokens - step)) / 2e-6
        assert float(grad[index]) == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("tokens", [np.ones((4, 3)), np.zeros((4, 3)), np.ones((1, 3)),
                                    np.eye(4)[[0, 0, 1, 2]]],
                         ids=["identical", "zero", "alone", "duplicate"])
def test_koleo_of_equal_rows_is_finite_and_so_is_its_gradient(tokens):
    value, grad = jax.value_and_grad(dinov2.koleo)(jnp.asarray(tokens, jnp.float32))
    assert np.isfinite(value)
    assert np.isfinite(grad).all()
    assert np.abs(grad).max() < 1e4


def test_gram_error_equals_the_loop_and_is_zero_for_rotated_features():
    ours, theirs = RNG.normal(size=(2, 3, 4, 5))
    got = dinov2.gram_error(jnp.asarray(ours), jnp.asarray(theirs))
    assert float(got) == pytest.approx(gram_by_loop(ours, theirs), rel=1e-5)
    rotation = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    assert float(dinov2.gram_error(jnp.asarray(ours), jnp.asarray(2 * ours @ rotation))) < 1e-10
    grad = jax.grad(dinov2.gram_error, argnums=1)(jnp.asarray(ours), jnp.asarray(theirs))
    assert np.abs(grad).max() == 0


def test_the_loss_is_the_sum_of_its_terms_each_view_by_itself():
    total, (weight, _, metrics) = loss()
    params, extra = state()
    parts = mean(metrics)
    views = (("view1", "hidden1"), ("view2", "hidden2"))
    seen = [in_numpy(params["encoder"], BATCH[v], np.asarray(BATCH[h])) for v, h in views]
    whole = [in_numpy(extra["gram"], BATCH[v])[1] for v, _ in views]
    assert parts["koleo"] == pytest.approx(
        sum(koleo_by_loop(tokens) for tokens, _ in seen) / 8, rel=1e-4)
    assert parts["gram_error"] == pytest.approx(
        sum(gram_by_loop(ours, theirs) for (_, ours), theirs in zip(seen, whole, strict=True)) / 8,
        rel=1e-4)
    want = (parts["class_nats"] + parts["patch_nats"] + 0.1 * 2 * parts["koleo"]
            + parts["gram_error"])
    assert float(total / weight) == pytest.approx(want, rel=1e-5)


def test_gram_anchoring_begins_at_its_step_and_costs_nothing_before():
    assert mean(loss(gram_start=61)[1][2])["gram_error"] == 0
    assert mean(loss(gram_start=0.6)[1][2])["gram_error"] == mean(loss()[1][2])["gram_error"] > 0
    assert "gram_error" not in loss(gram_weight=0.0)[1][2]
    assert "gram" not in jax.eval_shape(objective(gram_weight=0.0).init, jax.random.key(0),
                                        BATCH)[1]


def test_the_gram_teacher_is_renewed_on_schedule():
    schedule = dinov2.Gram(start=20, every=10, refreshes=2)
    due = [t for t in range(100) if schedule.is_due(jnp.int32(t))]
    assert due == [20, 30, 40]
    params, extra = state()
    anchored = objective(gram_start=20, gram_every=10, gram_refreshes=2)
    for step, renewed in ((19, True), (20, False), (28, False), (29, True), (49, False)):
        _, after = anchored.update(params, extra, jnp.int32(step))
        source = after["teacher"]["encoder"] if renewed else extra["gram"]
        assert np.array_equal(after["gram"]["w_patch"], source["w_patch"]), step


def test_heads_may_be_separate():
    params, _ = state(heads="separate")
    assert set(params) == {"encoder", "class_head", "patch_head"}
    assert not np.array_equal(*(params[h]["w_prototypes"] for h in ("class_head", "patch_head")))
    grads = jax.jit(jax.grad(lambda p: objective(heads="separate", gram_weight=0.0).loss(
        p, state(heads="separate")[1], BATCH, jax.random.key(2))[0]))(params)
    assert np.abs(grads["patch_head"]["w_prototypes"]).max() > 0
    assert set(state()[0]) == {"encoder", "class_head"}


def test_sinkhorn_uses_all_prototypes_evenly_in_both_heads():
    metrics = mean(loss(centring="sinkhorn")[1][2])
    assert metrics["teacher_use"] > 0.9
    with pytest.raises(ConfigError, match="at least"):
        objective(gram_every=0)
