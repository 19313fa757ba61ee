"""Autoregressive pixels: the loss against a float64 loop, sampling against full computation."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.models import gpt, pixel_gpt
from ssljax.nn.palette import make_palette, to_tokens
from ssljax.objectives import image_gpt

RNG = np.random.default_rng(0)
B, SIDE, COLOURS = 2, 4, 4
L = SIDE * SIDE
OPTIONS = {**pixel_gpt.TINY, "image_size": SIDE, "depth": 3, "pool_layer": 2}
TARGETS = RNG.integers(0, COLOURS, (B, L)).astype(np.int32)
BATCH = {"image": np.zeros((B, SIDE, SIDE, 1), np.uint8), "targets": TARGETS,
         "tokens": np.concatenate([np.full((B, 1), COLOURS, np.int32), TARGETS[:, :-1]], axis=1),
         "positions": np.tile(np.arange(L, dtype=np.int32), (B, 1))}


@functools.cache
def built():
    model = pixel_gpt.make(**OPTIONS)
    objective = image_gpt.make(model, **image_gpt.TINY)
    return model, objective, *jax.jit(objective.init)(jax.random.key(0), BATCH)


def test_loss_and_bits_equal_the_loop_over_pixels():
    model, objective, params, extra = built()
    logits = np.asarray(model.apply(params, {"tokens": BATCH["tokens"]})["logits"], np.float64)
    nats = 0.0
    for b in range(B):
        for place in range(L):
            row = logits[b, place]
            nats += np.log(np.exp(row).sum()) - row[TARGETS[b, place]]
    total, (weight, _, metrics) = jax.jit(objective.loss)(params, extra, BATCH, jax.random.key(0))
    assert float(total) == pytest.approx(nats, rel=1e-5)
    assert float(weight) == B * L
    bits = metrics["bits_per_dimension"]
    assert float(bits[0] / bits[1]) == pytest.approx(nats / math.log(2) / (B * L), rel=1e-5)


def test_samples_are_likely_under_the_network_that_drew_them():
    """At a low temperature each pixel is the most likely one given all before it."""
    model, objective, params, extra = built()
    drawn = np.asarray(objective.sample(params, extra, jax.random.key(1),
                                        jax.eval_shape(lambda: BATCH), temperature=1e-4)["targets"])
    tokens = np.concatenate([np.full((B, 1), COLOURS), drawn[:, :-1]], axis=1).astype(np.int32)
    logits = np.asarray(model.apply(params, {"tokens": tokens})["logits"])[..., :COLOURS]
    assert np.array_equal(drawn, logits.argmax(-1))


def test_samples_are_colours_and_differ_by_key():
    _, objective, params, extra = built()
    like = jax.eval_shape(lambda: BATCH)
    a, b = (np.asarray(objective.sample(params, extra, jax.random.key(k), like)["targets"])
            for k in (0, 1))
    assert a.shape == (B, L)
    assert a.min() >= 0
    assert a.max() < COLOURS
    assert not np.array_equal(a, b)
    with pytest.raises(ConfigError, match="temperature 0"):
        objective.sample(params, extra, jax.random.key(0), like, temperature=0)


def test_images_are_encoded_by_what_enters_a_middle_block():
    """The input of block 2 is what two blocks leave; its own first norm stands at the end."""
    model, objective, params, extra = built()
    weights, stats = objective.encoder(params, extra)
    scale = jnp.arange(1.0, 33.0)             # so that the right norm is told from the others
    norm = weights["decoder"]["blocks"]["norm_attention"]["scale"].at[2].set(scale)
    blocks = {**weights["decoder"]["blocks"], "norm_attention": {"scale": norm}}
    weights = {**weights, "decoder": {**weights["decoder"], "blocks": blocks}}
    image = RNG.uniform(-1, 1, (B, SIDE, SIDE, 1)).astype(np.float32)
    outputs = model.apply(weights, {"image": image}, stats=stats)
    tokens = np.asarray(to_tokens((image + 1) / 2, make_palette(4, "", 1))).reshape(B, L)
    tokens = np.concatenate([np.full((B, 1), COLOURS), tokens[:, :-1]], axis=1).astype(np.int32)
    two = gpt.make(vocab_size=8, width=32, depth=2, num_heads=4)
    front = {"embedding": weights["embedding"], "decoder": {
        "blocks": jax.tree.map(lambda w: w[:2], blocks), "norm": {"scale": scale}}}
    sequence = two.apply(front, {"tokens": tokens})["sequence"]
    np.testing.assert_allclose(outputs["sequence"], sequence, atol=1e-5)
    np.testing.assert_allclose(outputs["pooled"], np.mean(sequence, axis=1), atol=1e-5)


def test_a_block_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="pool_layer 3 of depth 3"):
        pixel_gpt.make(**{**OPTIONS, "pool_layer": 3})
    with pytest.raises(ConfigError, match="reads images of shape"):
        pixel_gpt.make(**OPTIONS).init(jax.random.key(0), {"image": jnp.zeros((1, 8, 8, 1))})
