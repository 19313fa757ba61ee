"""The language model: causal, packed, cached."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.models import gpt

B, L = 3, 12


@pytest.fixture(scope="module")
def network():
    model = gpt.make(**gpt.TINY)
    tokens = np.random.default_rng(0).integers(1, 64, (B, L)).astype(np.int32)
    params, _ = model.init(jax.random.key(0), {"tokens": tokens})
    return model, params, tokens


def logits(network, **inputs):
    model, params, _ = network
    return np.asarray(model.apply(params, inputs)["logits"])


def test_the_future_is_not_seen(network):
    _, _, tokens = network
    changed = tokens.copy()
    changed[:, 7:] = 1
    np.testing.assert_allclose(logits(network, tokens=changed)[:, :7],
                               logits(network, tokens=tokens)[:, :7], atol=1e-6)


def test_packed_documents_equal_documents_alone(network):
    _, _, tokens = network
    segments = np.repeat([[1] * 5 + [2] * 4 + [0] * 3], B, 0).astype(np.int32)
    positions = np.repeat([[*range(5), *range(4), 0, 0, 0]], B, 0).astype(np.int32)
    packed = logits(network, tokens=tokens, segment_ids=segments, positions=positions)
    np.testing.assert_allclose(packed[:, :5], logits(network, tokens=tokens[:, :5]), atol=1e-5)
    np.testing.assert_allclose(packed[:, 5:9], logits(network, tokens=tokens[:, 5:9]), atol=1e-5)


def test_rope_sees_distances_not_places(network):
    _, _, tokens = network
    here = np.tile(np.arange(L, dtype=np.int32), (B, 1))
    np.testing.assert_allclose(logits(network, tokens=tokens, positions=here + 1000),
                               logits(network, tokens=tokens, positions=here), atol=1e-4)


def test_a_cache_gives_what_full_computation_gives(network):
    """Prefill rows of different lengths, right-padded, then decode token by token."""
    model, params, tokens = network
    full = logits(network, tokens=tokens)
    lengths = np.array([3, 5, 4])
    prefill = np.where(np.arange(5) < lengths[:, None], tokens[:, :5], 0)
    cache = model.init_cache(params, B, L + 4)
    out = model.apply(params, {"tokens": prefill,
                               "positions": np.tile(np.arange(5), (B, 1))}, cache=cache)
    for row, n in enumerate(lengths):
        np.testing.assert_allclose(out["logits"][row, :n], full[row, :n], atol=1e-5)
    for t in range(6):
        at = lengths + t
        out = model.apply(params, {"tokens": tokens[np.arange(B), at][:, None],
                                   "positions": at[:, None]}, cache=out["cache"])
        np.testing.assert_allclose(out["logits"][:, 0], full[np.arange(B), at], atol=1e-5)


def test_keys_and_values_of_a_fresh_cache_are_buffers_of_their_own(network):
    model, params, _ = network
    cache = model.init_cache(params, 1, 4)
    assert cache["k"].unsafe_buffer_pointer() != cache["v"].unsafe_buffer_pointer()


@pytest.mark.parametrize("heads", [5, 32])
def test_heads_that_do_not_fit_are_refused(heads):
    with pytest.raises(ConfigError, match="change width or num_heads"):
        gpt.make(vocab_size=64, width=32, depth=1, num_heads=heads)


def test_swiglu_is_sized_like_two_matrices_of_4d():
    model = gpt.make(vocab_size=64, width=192, depth=1, num_heads=4)
    shapes = jax.eval_shape(lambda k: model.init(k, {"tokens": jnp.zeros((1, 2), jnp.int32)}),
                            jax.random.key(0))[0]
    assert shapes["decoder"]["blocks"]["mlp"]["w_up"].shape == (1, 192, 512)


GPT2 = {"positions": "learned", "context": 16, "norm": "layer", "norm_epsilon": 1e-5,
        "mlp": "gelu", "attention_bias": True}


def test_learned_positions_and_biases_decode_as_they_compute_whole():
    model = gpt.make(**gpt.TINY, **GPT2)
    tokens = np.random.default_rng(0).integers(1, 64, (1, 6)).astype(np.int32)
    params, _ = model.init(jax.random.key(0), {"tokens": tokens})
    params = jax.tree.map(lambda x: x + 0.1, params)         # biases start at 0
    full, cache = model.apply(params, {"tokens": tokens})["logits"], model.init_cache(params, 1, 8)
    for i in range(6):
        out = model.apply(params, {"tokens": tokens[:, i:i + 1],
                                   "positions": np.array([[i]], np.int32)}, cache=cache)
        cache = out["cache"]
        np.testing.assert_allclose(out["logits"][:, 0], full[:, i], atol=1e-4)
    with pytest.raises(ConfigError, match="positions of 16 tokens and reads 17"):
        model.apply(params, {"tokens": np.zeros((1, 17), np.int32)})


def test_a_head_of_its_own_is_what_logits_are_products_with():
    model = gpt.make(**gpt.TINY, tied=False)
    tokens = np.zeros((1, 3), np.int32)
    params, _ = model.init(jax.random.key(0), {"tokens": tokens})
    out = model.apply(params, {"tokens": tokens})
    np.testing.assert_allclose(out["logits"], out["sequence"] @ params["w_vocab"].T, rtol=1e-5,
                               atol=1e-6)
    assert model.apply(params, {"tokens": tokens}, train=True)["table"] is params["w_vocab"]


@pytest.mark.parametrize(("options", "message"), [
    ({"positions": "learned"}, "need the rows"), ({"context": 8}, "others have none"),
    ({"mlp": "gelu", "experts": 2}, "are SwiGLU"),
    ({"tied": False, "mup_base_width": 16}, "tied tables")])
def test_options_that_exclude_each_other_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        gpt.make(**gpt.TINY, **options)
