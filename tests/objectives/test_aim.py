"""AIM: every patch from those before it, and never from itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.models import vit
from ssljax.objectives import aim

RNG = np.random.default_rng(0)
BATCH = {"image": jnp.asarray(RNG.random((2, 8, 8, 1)), jnp.float32)}
KEY = jax.random.key(1)
MODEL = vit.make(**vit.TINY, causal=True)


@functools.cache
def built():
    objective = aim.make(MODEL, **aim.TINY)
    return objective, *jax.jit(objective.init)(jax.random.key(0), BATCH)


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def norm(x: np.ndarray, weights: dict) -> np.ndarray:
    x = x - x.mean()
    return x / np.sqrt(np.mean(x * x) + 1e-6) * weights["scale"] + weights["bias"]


def test_loss_equals_the_loop_over_patches():
    objective, params, extra = built()
    tokens = jax.jit(MODEL.apply)(params["encoder"], BATCH)["patches"]
    tokens, head = jax.tree.map(lambda x: np.asarray(x, np.float64), (tokens, params["head"]))
    expected = 0.0
    for i, n in np.ndindex(2, 15):
        x = tokens[i, n] @ head["in"]["layer0"]["w_head_up"] + head["in"]["layer0"]["bias"]
        first, second = (head["block0"]["mlp"][f"layer{k}"] for k in (0, 1))
        y = gelu(norm(x, head["block0"]["norm"]) @ first["w_head_up"] + first["bias"])
        x = x + y @ second["w_head_down"] + second["bias"]
        out = head["out"]
        found = norm(x, head["norm"]) @ out["w_patch_head"] + out["b_patch_head"]
        row, column = divmod(n + 1, 4)
        target = np.asarray(BATCH["image"][i, 2 * row:2 * row + 2, 2 * column:2 * column + 2, 0],
                            np.float64).ravel()
        target = (target - target.mean()) / np.sqrt(target.var(ddof=1) + 1e-6)
        expected += np.mean((found - target) ** 2)
    total, (weight, *_) = jax.jit(objective.loss)(params, extra, BATCH, KEY)
    assert float(total) == pytest.approx(expected, rel=1e-4)
    assert weight == 30


def test_a_prediction_reads_exactly_the_patches_it_says():
    objective, params, extra = built()
    _, scored, seen = objective.reconstruct.predict(params, extra, BATCH, KEY)

    @jax.jit
    @jax.vmap
    def sensitivity(weights):
        def one(image):
            found = objective.reconstruct.predict(params, extra, {"image": image}, KEY)[0]
            return jnp.sum(found.sum(-1)[0] * weights)
        return jax.grad(one)(BATCH["image"])[0]

    grads = np.abs(sensitivity(jnp.eye(16))).reshape(16, 4, 2, 4, 2).sum((2, 4)).reshape(16, 16)
    np.testing.assert_array_equal(grads > 0, seen[0])
    np.testing.assert_array_equal(scored[0], np.arange(16) > 0)
    assert not np.diag(seen[0]).any()


def test_a_head_needs_units():
    with pytest.raises(ConfigError, match="head_width 0: expected at least"):
        aim.make(MODEL, patch_size=2, head_width=0)
