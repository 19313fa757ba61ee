"""Flow matching: the loss against a float64 loop, sampling with and without labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.core.types import Model
from ssljax.objectives import flow_matching

RNG = np.random.default_rng(0)
B, CLASSES = 4, 3
BATCH = {"image": RNG.normal(size=(B, 4, 4, 2)), "noise": RNG.normal(size=(B, 4, 4, 2)),
         "time": RNG.random(B)}
BATCH = {name: x.astype(np.float32) for name, x in BATCH.items()}
LABEL = np.array([0, 2, 3, 1], np.int32)
PARAMS = {"a": jnp.float32(0.6), "b": jnp.float32(-0.4), "c": jnp.arange(4.0)}


def network(labelled: bool = False) -> Model:
    """Return v = a x + b t + c[label], with weights a, b and c [classes + 1]."""
    def init(key, inputs):
        return PARAMS, {}

    def apply(params, inputs, *, stats=None, cache=None, key=None, train=False):
        x = inputs["image"]
        v = params["a"] * x + params["b"] * inputs["time"][:, None, None, None]
        if labelled:
            v += params["c"][inputs["label"]][:, None, None, None]
        return {"velocity": v, "pooled": x.mean(axis=(1, 2)), "stats": {}}

    return Model(init, apply)


def test_loss_equals_the_loop_over_images():
    objective = flow_matching.make(network(labelled=True), num_classes=CLASSES)
    batch = {**BATCH, "label": LABEL}
    total, (weight, _, metrics) = jax.jit(objective.loss)(
        PARAMS, {"stats": {}}, batch, jax.random.key(0))
    expected = 0.0
    for i in range(B):
        noise, data, t = (BATCH[n][i].astype(np.float64) for n in ("noise", "image", "time"))
        v = 0.6 * ((1 - t) * noise + t * data) - 0.4 * t + LABEL[i]
        expected += np.mean((v - (data - noise)) ** 2)
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert float(weight) == B
    assert metrics["velocity_error"][0] == total


def samples(label: int, guidance: float = 1.0, steps: int = 200):
    objective = flow_matching.make(network(labelled=True), num_classes=CLASSES)
    like = jax.eval_shape(lambda: BATCH)
    return objective.sample(PARAMS, {"stats": {}}, jax.random.key(0), like, label=label,
                            guidance=guidance, steps=steps)["image"]


def test_samples_follow_the_ode_of_the_network():
    """x' = a x + b t + c from the same noise: the end differs by c (e^a - 1) / a."""
    ends = [samples(label) for label in range(CLASSES)]
    factor = (np.exp(0.6) - 1) / 0.6
    assert ends[0].shape == BATCH["image"].shape
    np.testing.assert_allclose(ends[1] - ends[0], factor, rtol=1e-4)
    np.testing.assert_allclose(ends[2] - ends[0], 2 * factor, rtol=1e-4)


def test_guidance_moves_away_from_no_label():
    """Guidance s turns c into c_none + s (c - c_none); here 3 + 2 (1 - 3) = -1."""
    factor = (np.exp(0.6) - 1) / 0.6
    np.testing.assert_allclose(samples(1, guidance=2.0) - samples(0), -factor, rtol=1e-4)


def test_without_a_label_every_image_draws_its_own():
    """Two images of the same noise but for their classes: constants tell which."""
    moved = np.asarray(samples(-1) - samples(0)).mean(axis=(1, 2, 3))
    drawn = moved / ((np.exp(0.6) - 1) / 0.6)
    np.testing.assert_allclose(drawn, np.round(drawn), atol=1e-3)
    assert set(np.round(drawn).astype(int)) <= {0, 1, 2}
    assert len(set(np.round(drawn).astype(int))) > 1


def test_what_cannot_be_sampled_is_refused():
    plain = flow_matching.make(network())
    like = jax.eval_shape(lambda: BATCH)

    def draw(objective, **options):
        return objective.sample(PARAMS, {"stats": {}}, jax.random.key(0), like, **options)

    with pytest.raises(ConfigError, match="trained without labels"):
        draw(plain, guidance=2.0)
    with pytest.raises(ConfigError, match="classes 0 to 2"):
        draw(flow_matching.make(network(labelled=True), num_classes=3), label=3)
    with pytest.raises(ConfigError, match="at least one"):
        draw(plain, steps=0)
    with pytest.raises(ConfigError, match="gives no labels"):
        flow_matching.make(network(), num_classes=3).init(jax.random.key(0), BATCH)
