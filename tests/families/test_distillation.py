"""Targets, centres and cross-entropies of self-distillation against loops in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.families.distillation import (
    Game,
    centred_targets,
    cross_view_nats,
    held,
    masked_nats,
    moved_centre,
    steps_of,
    warm_temperature,
)
from ssljax.families.patch_distillation import hidden_first, scored_count

RNG = np.random.default_rng(0)
B, V, M, K = 3, 4, 5, 6
TARGETS = RNG.dirichlet(np.ones(K), size=(2, B))
SCORES, LOCAL = RNG.uniform(-1, 1, size=(2, B, K)), RNG.uniform(-1, 1, size=(B, V, K))


def images_first(views) -> jax.Array:
    return jnp.moveaxis(jnp.asarray(views), 0, 1)


def log_softmax(scores: np.ndarray, temperature: float) -> np.ndarray:
    x = scores / temperature
    return x - np.log(np.sum(np.exp(x)))


def every_pair(targets, scores, local, temperature: float) -> float:
    """Algorithm 1 with multi-crop: the mean over pairs of different crops, summed over images."""
    total = 0.0
    for b in range(scores.shape[1]):
        crops = [*scores[:, b], *(local[b] if local is not None else ())]
        pairs = [-np.sum(targets[i][b] * log_softmax(crop, temperature))
                 for i in range(2) for v, crop in enumerate(crops) if v != i]
        total += np.mean(pairs)
    return total


@pytest.mark.parametrize("local", [LOCAL, None], ids=["multi-crop", "two views"])
def test_crops_equal_the_loop_over_all_pairs(local):
    want = every_pair(TARGETS, SCORES, local, 0.1)
    with jax.enable_x64(True):
        got = cross_view_nats(images_first(TARGETS), images_first(SCORES),
                              None if local is None else jnp.asarray(local), 0.1)
    # float32 inside, whatever comes in.
    assert float(got) == pytest.approx(want, rel=1e-5)


def test_the_gradient_of_crops_equals_finite_differences_of_the_loop():
    loss = lambda s, x: cross_view_nats(images_first(TARGETS), images_first(s), x, 0.5)  # noqa: E731
    grads = jax.grad(loss, argnums=(0, 1))(jnp.asarray(SCORES), jnp.asarray(LOCAL))
    for number, index in ((0, (1, 2, 3)), (1, (0, 3, 1))):
        slopes = []
        for step in (1e-5, -1e-5):
            moved = [SCORES.copy(), LOCAL.copy()]
            moved[number][index] += step
            slopes.append(every_pair(TARGETS, *moved, 0.5))
        slope = (slopes[0] - slopes[1]) / 2e-5
        assert float(grads[number][index]) == pytest.approx(slope, rel=1e-3)


def test_a_student_that_says_nothing_pays_the_logarithm_of_the_prototypes():
    nats = cross_view_nats(images_first(TARGETS), jnp.zeros((B, 2, K)), jnp.zeros((B, V, K)), 0.1)
    assert float(nats) == pytest.approx(B * np.log(K), rel=1e-5)


def test_hidden_patches_equal_the_loop_and_images_without_any_count_nothing():
    targets, scores = RNG.dirichlet(np.ones(K), (B, M)), RNG.uniform(-1, 1, (B, M, K))
    weights = np.array([[1, 1, 0, 0, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]], np.float32)
    want = 0.0
    for b in range(B):
        hidden = [-np.sum(targets[b, m] * log_softmax(scores[b, m], 0.2))
                  for m in range(M) if weights[b, m]]
        want += np.mean(hidden) if hidden else 0.0
    got = masked_nats(*map(jnp.asarray, (targets, scores, weights)), 0.2)
    assert float(got) == pytest.approx(want, rel=1e-5)


def test_targets_are_centred_then_sharpened_and_carry_no_gradient():
    centre = RNG.normal(size=K)
    want = np.stack([np.exp(log_softmax(s - centre, 0.05)) for s in SCORES[0]])
    targets = centred_targets(jnp.asarray(SCORES[0]), jnp.asarray(centre), jnp.float32(0.05))
    np.testing.assert_allclose(targets, want, rtol=2e-4, atol=1e-7)
    # A prototype that all images prefer by as much as the centre says is preferred by none.
    everywhere = jnp.asarray(np.tile(centre, (B, 1)), jnp.float32)
    even = centred_targets(everywhere, jnp.asarray(centre, jnp.float32), jnp.float32(0.04))
    np.testing.assert_allclose(even, 1 / K, rtol=1e-5)
    grad = jax.grad(lambda s: jnp.sum(centred_targets(s, jnp.zeros(K), jnp.float32(1))**2))
    assert np.abs(grad(jnp.asarray(SCORES[0]))).max() == 0


def test_the_centre_moves_to_the_mean_of_what_counts():
    centre = jnp.ones(K)
    scores = images_first(SCORES)
    moved = moved_centre(centre, scores, 0.9)
    np.testing.assert_allclose(moved, 0.9 + 0.1 * SCORES.mean((0, 1)), rtol=1e-5)
    weights = jnp.asarray([[1.0, 0], [0, 1], [0, 0]])
    counted = (SCORES[0, 0] + SCORES[1, 1]) / 2
    np.testing.assert_allclose(moved_centre(centre, scores, 0.5, weights),
                               0.5 + 0.5 * counted, rtol=1e-5)
    nothing = moved_centre(centre, scores, 0.5, jnp.zeros((B, 2)))
    np.testing.assert_allclose(nothing, 1)


def test_sinkhorn_replaces_the_centre():
    game = Game(0.1, warm_temperature(0.04, 0.04, 0), "sinkhorn", 0.9)
    targets = game.targets(images_first(SCORES), jnp.full(K, 7.0), jnp.int32(0))
    np.testing.assert_allclose(np.sum(targets, axis=-1), 1, rtol=1e-5)
    other = game.targets(images_first(SCORES), jnp.zeros(K), jnp.int32(0))
    np.testing.assert_array_equal(targets, other)


def test_the_teacher_warms_up_by_a_fraction_of_the_run_or_by_steps():
    assert [steps_of(x, 200) for x in (0, 0.3, 1, 30)] == [0, 60, 1, 30]
    warm = warm_temperature(0.04, 0.07, 60)
    np.testing.assert_allclose([warm(jnp.int32(t)) for t in (0, 30, 60, 900)],
                               [0.04, 0.055, 0.07, 0.07], rtol=1e-5)
    assert float(warm_temperature(0.04, 0.07, 0)(jnp.int32(1))) == pytest.approx(0.07)
    with pytest.raises(ConfigError, match="above 0"):
        warm_temperature(0, 0.07, 10)
    with pytest.raises(ConfigError, match="fraction of the run"):
        steps_of(-1, 10)


def test_prototypes_are_held_for_the_first_steps_only():
    params = {"mlp": {"w_head_up": jnp.ones(2)}, "w_prototypes": jnp.ones(2)}

    def grads(step: int) -> dict:
        loss = lambda p: sum(map(jnp.sum, jax.tree.leaves(held(p, jnp.int32(step), 3))))  # noqa: E731
        return jax.grad(loss)(params)

    assert np.abs(grads(2)["w_prototypes"]).max() == 0
    assert np.abs(grads(3)["w_prototypes"]).min() == 1
    assert np.abs(grads(2)["mlp"]["w_head_up"]).min() == 1


def test_hidden_patches_come_first_and_the_rest_weighs_nothing():
    hidden = jnp.asarray([False, True, False, True, True])
    chosen, weights = hidden_first(hidden, 4)
    assert list(map(int, chosen[:3])) == [1, 3, 4]
    np.testing.assert_array_equal(weights, [1, 1, 1, 0])
    assert (scored_count(196, 0.5), scored_count(16, 0.3), scored_count(4, 2.0)) == (98, 5, 4)
