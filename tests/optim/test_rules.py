"""Every rule against the formulas of its paper, as a NumPy loop in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssljax.core.config import resolve
from ssljax.optim.average import evaluation_params
from tests.contracts.cases import plugins

STEPS, LR, DECAY = 7, 0.03, 0.1
LAYERS, SIDE = 2, 5


def schedule(step):
    """Return a warm-up and a fall: no two steps have one learning rate."""
    return (1 + step) / (3 + step**1.5)


def weights() -> dict[str, np.ndarray]:
    """Return stacked square matrices, a norm's scale, and a wide matrix outside the stack."""
    rng = np.random.default_rng(0)
    return {"blocks/w_up": rng.normal(size=(LAYERS, SIDE, SIDE)),
            "blocks/scale": rng.normal(size=(LAYERS, SIDE)) + 1,
            "embedding": rng.normal(size=(3, 2 * SIDE))}


def gradients() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [{n: rng.normal(size=w.shape) * (1 + t) for n, w in weights().items()}
            for t in range(STEPS)]


def nested(flat: dict) -> dict:
    return {"blocks": {"w_up": flat["blocks/w_up"], "scale": flat["blocks/scale"]},
            "embedding": flat["embedding"]}


def ours(name: str, **words) -> tuple[dict, dict]:
    """Return the weights after STEPS steps, and those that are judged."""
    with jax.enable_x64(True):
        tx = resolve("optim", {"name": name, "lr": LR, **words}, schedule)
        params = jax.tree.map(jnp.asarray, nested(weights()))
        state, move = tx.init(params), jax.jit(tx.update)
        for grads in gradients():
            updates, state = move(nested(grads), state, params)
            params = optax.apply_updates(params, updates)
        judged = evaluation_params(state, params)
        return jax.tree.map(np.asarray, (params, judged))


def decay_of(name: str) -> float:
    return 0.0 if name.endswith("scale") else DECAY


def loop(name: str, rule) -> np.ndarray:
    """Return a weight moved by rule(t, g, w, memory) -> step, t from 1; the memory is a dict."""
    w, memory = weights()[name].copy(), {}
    for t, grads in enumerate(gradients(), 1):
        w = w - rule(t, grads[name], w, memory)
    return w


def lr_at(t: int) -> float:
    return LR * schedule(t - 1)


def adam(t, g, memory, b1, b2, eps) -> np.ndarray:
    m = memory["m"] = b1 * memory.get("m", 0) + (1 - b1) * g
    v = memory["v"] = b2 * memory.get("v", 0) + (1 - b2) * g**2
    return m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)


def adamw(name):
    return loop(name, lambda t, g, w, memory: lr_at(t) * (
        adam(t, g, memory, 0.9, 0.99, 1e-8) + decay_of(name) * w))


def lion(name):
    def rule(t, g, w, memory):
        m = memory.get("m", 0)
        memory["m"] = 0.99 * m + 0.01 * g
        return lr_at(t) * (np.sign(0.9 * m + 0.1 * g) + decay_of(name) * w)

    return loop(name, rule)


def ratio(name, w, u):
    """Return |w| / |u| of every layer, 1 for norms."""
    if name.endswith("scale"):
        return 1.0
    axes = tuple(range(1, w.ndim)) if name.startswith("blocks") else None
    return np.sqrt((w**2).sum(axes, keepdims=True) / (u**2).sum(axes, keepdims=True))


def lamb(name):
    def rule(t, g, w, memory):
        u = adam(t, g, memory, 0.9, 0.99, 1e-6) + decay_of(name) * w
        return lr_at(t) * ratio(name, w, u) * u

    return loop(name, rule)


def sgd(name):
    def rule(t, g, w, memory):
        memory["v"] = 0.9 * memory.get("v", 0) + g + decay_of(name) * w
        return lr_at(t) * memory["v"]

    return loop(name, rule)


def lars(name):
    def rule(t, g, w, memory):
        u = g + decay_of(name) * w
        trust = 1.0 if name.endswith("scale") else 0.1
        memory["v"] = 0.9 * memory.get("v", 0) + lr_at(t) * trust * ratio(name, w, u) * u
        return memory["v"]

    return loop(name, rule)


def clipped_lars(name):
    def rule(t, g, w, memory):
        u = g + decay_of(name) * w
        step = lr_at(t) if name.endswith("scale") else np.minimum(0.01 * ratio(name, w, u),
                                                                  lr_at(t))
        memory["v"] = 0.9 * memory.get("v", 0) + step * u
        return memory["v"]

    return loop(name, rule)


def adafactor(name):
    def rule(t, g, w, memory):
        b2 = 1 - float(t) ** -0.8
        square = g**2 + 1e-30
        if name == "blocks/w_up":                   # both sides are at least 4
            rows = memory["r"] = b2 * memory.get("r", 0) + (1 - b2) * square.mean(2)
            columns = memory["c"] = b2 * memory.get("c", 0) + (1 - b2) * square.mean(1)
            v = rows[:, :, None] * columns[:, None] / rows.mean(1)[:, None, None]
        else:
            v = memory["v"] = b2 * memory.get("v", 0) + (1 - b2) * square
        u = g / np.sqrt(v)
        axes = tuple(range(1, w.ndim)) if name.startswith("blocks") else None
        rms = lambda x: np.sqrt((x**2).mean(axes, keepdims=True))  # noqa: E731
        u = u / np.maximum(1, rms(u))
        return lr_at(t) * (np.maximum(1e-3, rms(w)) * u + decay_of(name) * w)

    return loop(name, rule)


def soap(name):
    b1, b2, shift, every = 0.9, 0.95, 1e-4, 2

    def follow(mean, q, times):
        shifted = mean + shift * np.linalg.norm(mean) * np.eye(len(mean))
        for _ in range(times):
            q = np.linalg.qr(shifted @ q)[0]
        return q

    def matrix(t, g, memory):
        if t == 1:
            memory |= {"L": (1 - b2) * g @ g.T, "R": (1 - b2) * g.T @ g, "m": 0 * g, "v": 0 * g}
            memory |= {q: follow(memory[p], np.eye(SIDE), 8) for p, q in (("L", "Q"), ("R", "P"))}
            return 0 * g
        q, p = memory["Q"], memory["P"]
        memory["m"] = b1 * memory["m"] + (1 - b1) * g
        memory["v"] = b2 * memory["v"] + (1 - b2) * (q.T @ g @ p) ** 2
        m, v = q.T @ memory["m"] @ p / (1 - b1 ** (t - 1)), memory["v"] / (1 - b2 ** (t - 1))
        memory["L"] = b2 * memory["L"] + (1 - b2) * g @ g.T
        memory["R"] = b2 * memory["R"] + (1 - b2) * g.T @ g
        if (t - 1) % every == 0:
            memory |= {"Q": follow(memory["L"], q, 1), "P": follow(memory["R"], p, 1)}
        return q @ (m / (np.sqrt(v) + 1e-8)) @ p.T

    def rule(t, g, w, memory):
        if name == "blocks/w_up":
            layers = [matrix(t, g[i], memory.setdefault(i, {})) for i in range(LAYERS)]
            return lr_at(t) * (np.stack(layers) + decay_of(name) * w)
        direction = adam(t - 1, g, memory, b1, b2, 1e-8) if t > 1 else 0
        return lr_at(t) * (direction + decay_of(name) * w)

    return loop(name, rule)


def schedule_free(name, judged=False):
    y = weights()[name].copy()
    x, z, v, total, largest = y.copy(), y.copy(), 0.0, 0.0, 0.0
    for t, grads in enumerate(gradients(), 1):
        g = grads[name]
        v = 0.99 * v + 0.01 * g**2
        z = z - lr_at(t) * (g / (np.sqrt(v / (1 - 0.99**t)) + 1e-8) + decay_of(name) * y)
        largest = max(largest, lr_at(t))
        total += largest**2
        x = x + (z - x) * largest**2 / total
        y = 0.1 * z + 0.9 * x
    return x if judged else y


def muon(name):
    """Newton-Schulz of a matrix's Nesterov momentum; the rest follows Adam with Nesterov's."""
    def orthogonal(g):
        x = g / (np.linalg.norm(g) + 1e-7)
        for _ in range(5):
            a = x @ x.T
            x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
        return x

    def rule(t, g, w, memory):
        # Optax corrects both terms of a look-ahead for the momentum's start at zero.
        ahead = lambda m, b: b * m / (1 - b ** (t + 1)) + (1 - b) * g / (1 - b**t)  # noqa: E731
        if name != "blocks/w_up":
            adam(t, g, memory, 0.9, 0.95, 1e-8)
            return lr_at(t) * ahead(memory["m"], 0.9) / (
                np.sqrt(memory["v"] / (1 - 0.95**t)) + 1e-8)
        memory["m"] = 0.95 * memory.get("m", 0) + 0.05 * g
        m = ahead(memory["m"], 0.95)
        step = np.stack([orthogonal(layer) for layer in m])
        return lr_at(t) * (0.2 * np.sqrt(SIDE) * step + DECAY * w)

    return loop(name, rule)


REFERENCES = {
    "adamw": (adamw, {"b2": 0.99}), "lion": (lion, {}), "lamb": (lamb, {"b2": 0.99}),
    "lars": (lars, {"trust": 0.1}), "adafactor": (adafactor, {"min_factored": 4}),
    "soap": (soap, {"b1": 0.9, "every": 2}), "schedule_free": (schedule_free, {"b2": 0.99}),
    "muon": (muon, {}), "sgd": (sgd, {"momentum": 0.9})}


def test_every_rule_has_a_reference():
    assert sorted(REFERENCES) == sorted(plugins("optim"))


@pytest.mark.parametrize("name", REFERENCES)
def test_a_rule_is_the_formula_of_its_paper(name):
    reference, words = REFERENCES[name]
    params, _ = ours(name, weight_decay=DECAY, **words)
    expected = nested({n: reference(n) for n in weights()})
    for ours_, theirs, start in zip(*map(jax.tree.leaves, (params, expected, nested(weights())))):
        assert np.abs(theirs - start).max() > 0.01
        np.testing.assert_allclose(ours_, theirs, rtol=3e-6, atol=3e-6)


def test_clipped_lars_moves_a_layer_by_the_smaller_of_trust_and_learning_rate():
    params, _ = ours("lars", weight_decay=DECAY, trust=0.01, clip=True)
    expected = nested({n: clipped_lars(n) for n in weights()})
    free, _ = ours("lars", weight_decay=DECAY, trust=0.01)
    for ours_, theirs in zip(*map(jax.tree.leaves, (params, expected)), strict=True):
        np.testing.assert_allclose(ours_, theirs, rtol=3e-6, atol=3e-6)
    assert np.abs(params["embedding"] - free["embedding"]).max() > 1e-3


def test_schedule_free_judges_the_average():
    _, judged = ours("schedule_free", weight_decay=DECAY, b2=0.99)
    expected = nested({n: schedule_free(n, judged=True) for n in weights()})
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=3e-6), judged, expected)


def test_soap_follows_adam_in_the_eigenbasis_of_a_quadratic():
    """On a rotated quadratic, SOAP does as Adam does on the unrotated one, and Adam does not."""
    rng = np.random.default_rng(2)
    q = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    curvature = jnp.asarray(q * 10.0 ** np.linspace(-2, 1, 8) @ q.T, jnp.float32)
    start = {"w_up": jnp.asarray(rng.normal(size=(8, 8)), jnp.float32)}
    loss = lambda p: jnp.sum(p["w_up"] * (curvature @ p["w_up"]))  # noqa: E731
    ends = {}
    for name in ("adamw", "soap"):
        tx = resolve("optim", {"name": name, "lr": 0.05, "b1": 0.9, "b2": 0.95}, lambda t: 1.0)

        @jax.jit
        def run(params, state, tx=tx):
            def one(_, carry):
                params, state = carry
                updates, state = tx.update(jax.grad(loss)(params), state, params)
                return optax.apply_updates(params, updates), state

            return jax.lax.fori_loop(0, 60, one, (params, state))[0]

        ends[name] = float(loss(run(start, tx.init(start))))
    assert ends["soap"] < 0.7 * ends["adamw"] < ends["adamw"]
