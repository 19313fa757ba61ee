"""The figures of collapse: NumPy by definition, and the cases that bound them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.sharding import make_mesh, place_whole, use_mesh
from ssljax.families.health import assignment_metrics, spread


def value(pair: tuple[jax.Array, jax.Array]) -> float:
    return float(pair[0] / pair[1])


def reference_spread(z: np.ndarray) -> float:
    z = np.array([row / np.linalg.norm(row) for row in z.astype(np.float64)])
    total = 0.0
    for d in range(z.shape[1]):
        mean = sum(z[:, d]) / len(z)
        total += math.sqrt(sum((v - mean) ** 2 for v in z[:, d]) / len(z))
    return total / z.shape[1] * math.sqrt(z.shape[1])


def reference_assignments(p: np.ndarray) -> dict[str, float]:
    p = p.astype(np.float64)
    k, mean = p.shape[1], p.mean(0)
    entropy = np.mean([-sum(x * math.log(x) for x in row if x > 0) for row in p])
    kl = sum(m * math.log(m * k) for m in mean if m > 0)
    return {"t_entropy": entropy / math.log(k), "t_kl_uniform": kl / math.log(k),
            "t_use": math.exp(math.log(k) - kl) / k}


def test_spread_is_the_definition_and_does_not_see_lengths() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(24, 6)) + 0.5
    assert value(spread(jnp.asarray(z))) == pytest.approx(reference_spread(z), rel=1e-5)
    scaled = z * rng.uniform(0.1, 10, size=(24, 1))
    assert value(spread(jnp.asarray(scaled))) == pytest.approx(reference_spread(z), rel=1e-5)
    tokens = jnp.asarray(z).reshape(4, 6, 6)
    assert value(spread(tokens)) == pytest.approx(reference_spread(z), rel=1e-5)


@pytest.mark.parametrize("z", [np.ones((8, 4)), np.zeros((8, 4)), np.eye(4)[[2] * 8] * 3])
def test_spread_of_a_collapse_is_zero(z: np.ndarray) -> None:
    assert value(spread(jnp.asarray(z))) == pytest.approx(0, abs=1e-6)


def test_spread_of_all_directions_is_one() -> None:
    z = np.random.default_rng(0).normal(size=(4096, 16))
    assert value(spread(jnp.asarray(z))) == pytest.approx(1, abs=0.01)


def test_assignments_are_the_definition() -> None:
    logits = np.random.default_rng(1).normal(size=(12, 5)) * 3
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = {k: value(v) for k, v in assignment_metrics(jnp.asarray(p), "t").items()}
    assert found == pytest.approx(reference_assignments(p), rel=1e-5)
    views = {k: value(v) for k, v in
             assignment_metrics(jnp.asarray(p).reshape(3, 4, 5), "t").items()}
    assert views == pytest.approx(reference_assignments(p), rel=1e-5)


@pytest.mark.parametrize(("p", "entropy", "divergence", "use"), [
    (np.eye(4), 0, 0, 1),                                   # every prototype, surely: healthy
    (np.eye(4)[[1] * 4], 0, 1, 0.25),                       # one prototype for all
    (np.full((4, 4), 0.25), 1, 0, 1),                       # rows that say nothing
])
def test_assignments_tell_the_two_collapses_apart(p: np.ndarray, entropy: float, divergence: float,
                                                  use: float) -> None:
    found = {k: value(v) for k, v in assignment_metrics(jnp.asarray(p)).items()}
    assert found == pytest.approx({"teacher_entropy": entropy, "teacher_kl_uniform": divergence,
                                   "teacher_use": use}, abs=1e-6)


@pytest.mark.parametrize("kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
def test_both_are_of_the_global_batch(kind: jax.sharding.AxisType) -> None:
    z = np.random.default_rng(2).normal(size=(16, 4)).astype(np.float32)

    def figures(z: jax.Array) -> dict[str, tuple[jax.Array, jax.Array]]:
        return {"std": spread(z), **assignment_metrics(jax.nn.softmax(z))}

    mesh = make_mesh({"data": 2, "fsdp": -1}, kind)
    with use_mesh(mesh):
        sharded = jax.jit(figures)(place_whole(mesh, z))
    for name, pair in figures(jnp.asarray(z)).items():
        assert value(sharded[name]) == pytest.approx(value(pair), rel=1e-5), name
