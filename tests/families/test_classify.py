"""Pretext classification: the loss against a float64 loop, and what each method asks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.types import Model
from ssljax.objectives import jigsaw, relative_location, rotation

RNG = np.random.default_rng(0)
B, D = 3, 5


def linear_model() -> Model:
    """Return a network that pools a linear map of an image's values; no statistics."""
    def init(key, inputs):
        values = int(np.prod(inputs["image"].shape[1:]))
        return {"w_patch": jax.random.normal(key, (values, D))}, {}

    def apply(params, inputs, *, stats=None, cache=None, key=None, train=False):
        del stats, cache, key, train
        rows = inputs["image"].reshape(len(inputs["image"]), -1)
        return {"pooled": rows @ params["w_patch"], "stats": {}}

    return Model(init, apply)


def images(count: int) -> np.ndarray:
    return RNG.normal(size=(B, count, 2, 2, 1)).astype(np.float32)


CASES = {
    "rotation": (rotation.make, {}, {"rotated": images(4)}),
    "relative_location": (relative_location.make, {"hidden_dim": 7}, {
        "patches": images(3), "position": RNG.integers(0, 8, (B, 2)).astype(np.int32)}),
    "jigsaw": (jigsaw.make, {"hidden_dim": 7, "permutations": 6}, {
        "tiles": images(9), "shuffle": RNG.integers(0, 6, (B, 2)).astype(np.int32),
        "order": np.stack([[RNG.permutation(9) for _ in range(2)] for _ in range(B)])}),
}


def questions(name: str, features: np.ndarray, batch: dict) -> list[tuple[np.ndarray, int]]:
    """Return what the head reads and the right class, question by question; features [B, S, D]."""
    out = []
    for b in range(B):
        if name == "rotation":
            out += [(features[b, k], k) for k in range(4)]
        elif name == "relative_location":
            out += [(np.concatenate([features[b, 0], features[b, 1 + m]]),
                     batch["position"][b, m]) for m in range(2)]
        else:
            out += [(np.concatenate([features[b, tile] for tile in batch["order"][b, m]]),
                     batch["shuffle"][b, m]) for m in range(2)]
    return out


def logits(head: dict, x: np.ndarray) -> np.ndarray:
    layers = [head[name] for name in sorted(head)]
    for i, layer in enumerate(layers):
        [w] = [v for n, v in layer.items() if n.startswith("w_")]
        x = x @ np.asarray(w, np.float64) + np.asarray(layer["bias"], np.float64)
        x = x if i == len(layers) - 1 else np.maximum(x, 0)
    return x


@pytest.mark.parametrize("name", sorted(CASES))
def test_loss_and_accuracy_equal_the_loop_over_questions(name):
    make, options, batch = CASES[name]
    objective = make(linear_model(), **options)
    params, extra = objective.init(jax.random.key(0), jax.tree.map(jnp.asarray, batch))
    total, (weight, moved, metrics) = jax.jit(objective.loss)(
        params, extra, batch, jax.random.key(1))
    stack = next(x for x in batch.values() if x.ndim == 5).astype(np.float64)
    features = stack.reshape(*stack.shape[:2], -1) @ np.asarray(
        params["encoder"]["w_patch"], np.float64)
    nats, hits = 0.0, 0
    asked = questions(name, features, batch)
    for x, wanted in asked:
        scores = logits(params["head"], x)
        nats += np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[wanted]
        hits += np.argmax(scores) == wanted
    assert float(total) == pytest.approx(nats, rel=2e-5)
    assert float(weight) == len(asked)
    assert (float(metrics["accuracy"][0]), float(metrics["accuracy"][1])) == (hits, len(asked))
    assert jax.tree.structure(moved) == jax.tree.structure(extra)


def test_the_answer_to_a_puzzle_follows_its_tiles():
    """Shuffled inputs under the identity are the inputs under the shuffle."""
    make, options, batch = CASES["jigsaw"]
    objective = make(linear_model(), **options)
    params, extra = objective.init(jax.random.key(0), batch)
    one = {"tiles": batch["tiles"], "order": batch["order"][:, :1],
           "shuffle": batch["shuffle"][:, :1]}
    tiles = np.stack([x[order] for x, order in
                      zip(batch["tiles"], batch["order"][:, 0], strict=True)])
    moved = {**one, "tiles": tiles, "order": np.tile(np.arange(9), (B, 1, 1))}
    losses = [objective.loss(params, extra, x, jax.random.key(0))[0] for x in (one, moved)]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-6)


def test_evaluation_uses_the_network_alone():
    make, options, batch = CASES["rotation"]
    objective = make(linear_model(), **options)
    params, extra = objective.init(jax.random.key(0), batch)
    weights, stats = objective.encoder(params, extra)
    assert weights is params["encoder"]
    assert stats == {}
    assert objective.coupled
