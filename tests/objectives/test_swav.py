"""SwAV against its equations: swapped predictions, codes with a queue, prototypes of length one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.objectives import swav
from tests.objectives import crop_network, slopes
from tests.objectives.crop_network import softmax

RNG = np.random.default_rng(0)
ROWS, K = 6, 8
BATCH = {n: x for n, x in crop_network.batch(ROWS).items() if not n.startswith("hidden")}
OPTIONS = {"hidden_dim": 16, "out_dim": 5, "prototypes": K}


@functools.cache
def made(**options):
    objective = swav.make(crop_network.make(), **{**OPTIONS, **options})
    params, extra = jax.jit(objective.init)(jax.random.key(0), BATCH)
    return objective._replace(loss=jax.jit(objective.loss)), params, extra


def codes_in_numpy(scores: np.ndarray, epsilon: float = 0.05) -> np.ndarray:
    """Algorithm 1's Sinkhorn: rows and columns of Q [K, B] in turn."""
    q = np.exp(scores / epsilon).T
    for _ in range(3):
        q /= q.sum(1, keepdims=True) * q.shape[0]
        q /= q.sum(0, keepdims=True) * q.shape[1]
    return (q * q.shape[1]).T


def embed(params: dict, images: np.ndarray) -> np.ndarray:
    w = jax.tree.map(lambda x: np.asarray(x, np.float64), params["head"])
    h = crop_network.in_numpy(params["encoder"], images)[0] @ w["layer0"]["w_head_up"]
    h = np.maximum((h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5), 0)
    z = h @ w["layer1"]["w_head_down"] + w["layer1"]["bias"]
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def reference(params: dict, batch: dict, views: int, queues=((), ())) -> float:
    """Equation 2 over all pairs of a large view and another one, summed over rows."""
    prototypes = np.asarray(params["w_prototypes"], np.float64)
    large = [embed(params, batch[v]) for v in ("view1", "view2")]
    small = np.moveaxis(np.asarray(batch["local"]), 1, 0).reshape(-1, 4, 4, 1)
    small = embed(params, small).reshape(-1, ROWS, 5)
    scores = [z @ prototypes for z in (*large, *small)][:views]
    log_p = [np.log(softmax(s / 0.1)) for s in scores]
    terms = []
    for t in range(2):
        earlier = np.asarray(queues[t]).reshape(-1, 5) @ prototypes
        q = codes_in_numpy(np.concatenate([earlier, scores[t]]))[-ROWS:]
        terms += [-np.sum(q * log_p[s]) for s in range(views) if s != t]
    return sum(terms) / len(terms)


def test_swapped_predictions_and_their_gradient_equal_the_loop():
    codes = [softmax(RNG.normal(size=(ROWS, K))) for _ in range(2)]

    def by_loop(*log_p):
        pairs = [(t, s) for t in range(2) for s in range(3) if t != s]
        return -sum(codes[t][i, k] * log_p[s][i, k] for t, s in pairs
                    for i in range(ROWS) for k in range(K)) / len(pairs)

    slopes.check(lambda *log_p: jnp.sum(swav.swapped([jnp.asarray(c) for c in codes],
                                                     list(log_p))),
                 by_loop, *RNG.normal(size=(3, ROWS, K)))


@pytest.mark.parametrize("views", [2, 5])
def test_the_whole_method_equals_the_loop(views):
    objective, params, extra = made()
    batch = BATCH if views > 2 else {v: BATCH[v] for v in ("view1", "view2")}
    total, (weight, _, _) = objective.loss(params, extra, batch, jax.random.key(1))
    assert float(total) == pytest.approx(reference(params, BATCH, views), rel=1e-4)
    assert weight == ROWS


@pytest.mark.parametrize("step", [2, 3])
def test_the_queue_joins_the_codes_from_its_step_on(step):
    objective, params, extra = made(queue_size=12, queue_from=3)
    queues = {v: {**q, "filled": jnp.int32(12)} for v, q in extra["queues"].items()}
    extra = {**extra, "queues": queues, "step": jnp.int32(step)}
    batch = {v: BATCH[v] for v in ("view1", "view2")}
    total, (_, moved, _) = objective.loss(params, extra, batch, jax.random.key(1))
    joined = [queues[v]["queue"] for v in ("view1", "view2")] if step >= 3 else ((), ())
    assert float(total) == pytest.approx(reference(params, BATCH, 2, joined), rel=1e-4)
    np.testing.assert_allclose(moved["queues"]["view2"]["queue"][:ROWS],
                               embed(params, BATCH["view2"]), rtol=1e-4, atol=1e-5)


def test_an_empty_queue_counts_for_nothing():
    objective, params, extra = made(queue_size=12)
    batch = {v: BATCH[v] for v in ("view1", "view2")}
    total, _ = objective.loss(params, extra, batch, jax.random.key(1))
    assert float(total) == pytest.approx(reference(params, BATCH, 2), rel=1e-4)


def test_prototypes_have_length_one_after_every_step():
    objective, params, extra = made()
    np.testing.assert_allclose(np.linalg.norm(params["w_prototypes"], axis=0), 1, rtol=1e-5)
    grown = {**params, "w_prototypes": 3 * params["w_prototypes"]}
    moved, extra = objective.update(grown, extra, jnp.int32(4))
    np.testing.assert_allclose(moved["w_prototypes"], params["w_prototypes"], rtol=1e-5)
    assert extra["step"] == 5


def test_prototypes_rest_in_the_first_steps():
    objective, params, extra = made(freeze_steps=2)

    views = {v: BATCH[v] for v in ("view1", "view2")}

    @jax.jit
    def gradient(step):
        return jax.grad(lambda p: objective.loss(
            p, {**extra, "step": step}, views, jax.random.key(1))[0])(params)

    for step, moves in ((1, False), (2, True)):
        grads = gradient(jnp.int32(step))
        assert np.any(grads["w_prototypes"]) == moves
        assert np.any(grads["head"]["layer1"]["w_head_down"])
    assert objective.encoder(params, extra)[0] is params["encoder"]
