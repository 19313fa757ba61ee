"""Exported programs compute what the model computes, for any sizes, without its code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from ssljax.core.types import Model
from ssljax.export.golden import decoder_golden, encoder_golden
from ssljax.export.stablehlo import PLATFORMS, decoder_programs, encoder_programs, no_source_paths
from ssljax.models import gpt


@pytest.fixture(scope="module")
def decoder():
    """Return (model, weights, {name: program}, {name: function})."""
    model = gpt.make(vocab_size=50, width=16, depth=2, num_heads=2)
    params, _ = jax.jit(model.init)(jax.random.key(0), {"tokens": jnp.zeros((1, 4), jnp.int32)})
    weights = {"params": jax.device_get(params)}
    programs = decoder_programs(model, weights)
    return model, weights, programs, {
        name: jax.jit(export.deserialize(bytearray(program.data)).call)
        for name, program in programs.items()}


def test_score_is_the_model_for_any_rows_and_length(decoder):
    model, weights, _, functions = decoder
    for shape in ((1, 1), (3, 7)):
        tokens = np.random.default_rng(0).integers(50, size=shape, dtype=np.int32)
        right = jax.jit(model.apply)(weights["params"], {"tokens": tokens})["logits"]
        here = functions["score"](weights, {"tokens": tokens})["logits"]
        np.testing.assert_allclose(here, right, atol=1e-5)


def test_prefill_and_decode_walk_through_score(decoder):
    model, weights, _, functions = decoder
    tokens = np.random.default_rng(1).integers(50, size=(2, 9), dtype=np.int32)
    right = np.asarray(functions["score"](weights, {"tokens": tokens})["logits"])
    lengths = np.array([5, 3])                     # the second row is padded by two
    cache = jax.tree.map(jnp.copy, model.init_cache(weights["params"], 2, 12))
    out = functions["prefill"](weights, {"tokens": tokens[:, :5], "cache": cache,
                                         "last": (lengths - 1).astype(np.int32)})
    np.testing.assert_allclose(out["logits"], right[[0, 1], lengths - 1], atol=1e-5)
    for _ in range(4):
        out = functions["decode"](weights, {
            "token": tokens[[0, 1], lengths], "position": lengths.astype(np.int32),
            "cache": out["cache"]})
        np.testing.assert_allclose(out["logits"], right[[0, 1], lengths], atol=1e-5)
        lengths = lengths + 1


def test_programs_say_what_they_take_and_for_which_platforms(decoder):
    _, _, programs, _ = decoder
    cache = {"shape": [2, "b", "t", 2, 8], "dtype": "float32"}
    assert programs["prefill"].inputs == {
        "tokens": {"shape": ["b", "l"], "dtype": "int32"},
        "last": {"shape": ["b"], "dtype": "int32"}, "cache/k": cache, "cache/v": cache}
    assert programs["decode"].outputs["logits"] == {"shape": ["b", 50], "dtype": "float32"}
    for program in programs.values():
        exported = export.deserialize(bytearray(program.data))
        assert tuple(exported.platforms) == PLATFORMS == ("cpu", "cuda", "tpu")
        assert len(program.data) < 60_000               # the weights are not inside


def test_tracing_puts_the_setting_back_even_on_failure():
    before = jax.config.jax_traceback_in_locations_limit
    with pytest.raises(ZeroDivisionError), no_source_paths():
        assert jax.config.jax_traceback_in_locations_limit == 0
        raise ZeroDivisionError
    assert jax.config.jax_traceback_in_locations_limit == before


def test_encoder_with_batch_statistics_is_exported_with_them():
    def apply(params, inputs, *, stats=None, cache=None, key=None, train=False):
        centred = inputs["image"] - stats["mean"]
        return {"pooled": jnp.einsum("BHWC,CD->BD", centred, params["w"])}

    model = Model(lambda key, inputs: None, apply)
    weights = {"params": {"w": np.full((3, 4), 2.0, np.float32)},
               "stats": {"mean": np.full(3, 0.5, np.float32)}}
    program = encoder_programs(model, weights, image=(2, 2, 3))["embed"]
    golden = encoder_golden(model, weights, image=(2, 2, 3))
    out = export.deserialize(bytearray(program.data)).call(weights, {"image": golden["image"]})
    right = 2 * (golden["image"] - 0.5).sum((1, 2, 3))
    np.testing.assert_allclose(out["pooled"], np.repeat(right[:, None], 4, 1), rtol=1e-5)
    np.testing.assert_allclose(golden["pooled"], out["pooled"], rtol=1e-5)
    assert program.inputs == {"image": {"shape": ["b", 2, 2, 3], "dtype": "float32"}}


def test_golden_answers_are_small_and_see_every_column(decoder):
    model, weights, _, _ = decoder
    golden = decoder_golden(model, weights, vocab_size=50, context=8)
    assert golden["tokens"].shape == (2, 8) and golden["tokens"].max() < 50
    logits = jax.jit(model.apply)(weights["params"], {"tokens": golden["tokens"]})["logits"]
    np.testing.assert_allclose(golden["logits"], logits[:, :, golden["columns"]], atol=1e-6)
    np.testing.assert_allclose(golden["logsumexp"], jax.nn.logsumexp(logits, -1), atol=1e-5)


def test_golden_answers_stay_small_for_large_vocabularies():
    def apply(params, inputs, *, stats=None, cache=None, key=None, train=False):
        return {"logits": jax.nn.one_hot(inputs["tokens"], 50_000)}

    golden = decoder_golden(Model(lambda key, inputs: None, apply), {"params": {}},
                            vocab_size=50_000, context=1024)
    assert sum(array.nbytes for array in golden.values()) < 10_000
