"""A network computes the same of a stack of layers and of each layer's own arrays."""

import jax
import numpy as np

from ssljax.core.tree import named_leaves
from ssljax.models import gpt, vit
from ssljax.nn.stack import stacked, unstacked

TOKENS = {"tokens": np.arange(12, dtype=np.int32).reshape(2, 6)}
IMAGE = {"image": np.random.default_rng(0).random((2, 8, 8, 3), np.float32)}


def check(model, inputs, output):
    params = jax.device_get(jax.jit(model.init)(jax.random.key(0), inputs)[0])
    apart = unstacked(params)
    assert any("/blocks/1/" in name for name in named_leaves(apart))
    right, here = (jax.jit(model.apply)(p, inputs)[output] for p in (params, apart))
    np.testing.assert_allclose(here, right, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, stacked(apart), params)


def test_decoder_computes_the_same():
    check(gpt.make(vocab_size=32, width=16, depth=2, num_heads=2), TOKENS, "logits")


def test_experts_compute_the_same():
    check(gpt.make(vocab_size=32, width=16, depth=2, num_heads=2, experts=2), TOKENS, "logits")


def test_encoder_that_keeps_its_layers_computes_the_same():
    check(vit.make(image_size=8, width=16, depth=3, num_heads=2, patch_size=4, collect=2), IMAGE,
          "layers")
