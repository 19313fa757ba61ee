"""Exported programs compute what the model computes, for any sizes, without its code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from ssljax.core.types import Model
from ssljax.export.golden import LENGTH, golden_answers
from ssljax.export.stablehlo import PLATFORMS, decoder_programs, encoder_programs, no_source_paths
from ssljax.models import gpt
from ssljax.nn.paged import as_pages
from ssljax.nn.stack import unstacked


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


@pytest.mark.parametrize("stacked", [True, False])
def test_chunks_steps_and_verification_walk_through_score(decoder, stacked):
    """Two rows of different lengths, in pages that lie anywhere and are full of not-a-number."""
    model, weights, _, functions = decoder
    tokens = np.random.default_rng(1).integers(50, size=(2, 12), dtype=np.int32)
    right = np.asarray(functions["score"](weights, {"tokens": tokens})["logits"])
    if not stacked:
        weights = {"params": unstacked(weights["params"])}
        functions = {name: jax.jit(export.deserialize(bytearray(program.data)).call)
                     for name, program in decoder_programs(model, weights).items()}
    cache = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan),
                         as_pages(model.init_cache(decoder[1]["params"], 9, 4)))
    table = np.array([[7, 2, 5], [1, 8, 3]], np.int32)

    def at(start):
        return {"start": np.asarray(start, np.int32), "table": table, "cache": cache}

    lengths = np.array([4, 3])                     # the second row is padded by one
    out = functions["prefill"](weights, at([0, 0]) | {
        "tokens": tokens[:, :4], "last": (lengths - 1).astype(np.int32)})
    np.testing.assert_allclose(out["logits"], right[[0, 1], lengths - 1], atol=1e-5)
    cache = out["cache"]
    chunk = np.stack([tokens[0, 4:6], tokens[1, 3:5]])
    out = functions["prefill"](weights, at(lengths) | {"tokens": chunk,
                                                       "last": np.array([1, 0], np.int32)})
    lengths = lengths + [2, 1]
    np.testing.assert_allclose(out["logits"], right[[0, 1], lengths - 1], atol=1e-5)
    for _ in range(3):
        cache = out["cache"]
        out = functions["decode"](weights, {
            "token": tokens[[0, 1], lengths], "position": lengths.astype(np.int32),
            "table": table, "cache": cache})
        np.testing.assert_allclose(out["logits"], right[[0, 1], lengths], atol=1e-5)
        lengths = lengths + 1
    cache = out["cache"]
    some = np.stack([tokens[row, n:n + 3] for row, n in enumerate(lengths)])
    out = functions["verify"](weights, at(lengths) | {"tokens": some})
    for row, n in enumerate(lengths):
        np.testing.assert_allclose(out["logits"][row], right[row, n:n + 3], atol=1e-5)


def test_programs_say_what_they_take_and_for_which_platforms(decoder):
    _, _, programs, _ = decoder
    keys = {"shape": ["m", 2, 8, "p"], "dtype": "float32"}
    values = {"shape": ["m", 2, "p", 8], "dtype": "float32"}
    assert programs["prefill"].inputs == {
        "tokens": {"shape": ["b", "l"], "dtype": "int32"},
        "start": {"shape": ["b"], "dtype": "int32"}, "last": {"shape": ["b"], "dtype": "int32"},
        "table": {"shape": ["b", "n"], "dtype": "int32"},
        "cache/0/k": keys, "cache/0/v": values, "cache/1/k": keys, "cache/1/v": values}
    assert programs["decode"].outputs["logits"] == {"shape": ["b", 50], "dtype": "float32"}
    for program in programs.values():
        exported = export.deserialize(bytearray(program.data))
        assert tuple(exported.platforms) == PLATFORMS == ("cpu", "cuda", "tpu")
        assert len(program.data) < 70_000               # the weights are not inside


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
    golden = golden_answers({"embed": program}, weights).arrays
    image = golden["embed/inputs/image"]
    out = export.deserialize(bytearray(program.data)).call(weights, {"image": image})
    right = 2 * (image - 0.5).sum((1, 2, 3))
    np.testing.assert_allclose(out["pooled"], np.repeat(right[:, None], 4, 1), rtol=1e-5)
    np.testing.assert_allclose(golden["embed/outputs/pooled/entries"], out["pooled"].ravel(),
                               rtol=1e-5)
    np.testing.assert_allclose(golden["embed/outputs/pooled/norms"],
                               np.linalg.norm(out["pooled"], axis=-1), rtol=1e-5)
    assert program.inputs == {"image": {"shape": ["b", 2, 2, 3], "dtype": "float32"}}


def test_golden_answers_cover_every_function_and_see_every_column(decoder):
    model, weights, programs, functions = decoder
    golden, about = golden_answers(programs, weights, vocab_size=50, context=10)
    assert about["score"] == {"sizes": {"b": 2, "l": 10}, "filled": []}
    assert about["decode"]["sizes"] == {"b": 2, "n": 2, "p": 8, "m": 5}
    assert all(key.startswith("cache/") for key in about["decode"]["filled"])
    tokens = golden["score/inputs/tokens"]
    assert tokens.shape == (2, 10) and tokens.max() < 50 and tokens.min() >= 0
    logits = jax.jit(model.apply)(weights["params"], {"tokens": tokens})["logits"]
    np.testing.assert_allclose(golden["score/outputs/logits/entries"], logits.ravel(), atol=1e-5)
    np.testing.assert_allclose(golden["score/outputs/logits/norms"],
                               np.linalg.norm(logits, axis=-1).ravel(), rtol=1e-5)
    for name, program in programs.items():
        outputs = {key for key, spec in program.outputs.items() if "float" in spec["dtype"]}
        kept = {key.split("/", 2)[2].rpartition("/")[0] for key in golden
                if key.startswith(f"{name}/outputs/")}
        assert kept == outputs and outputs
        given = {key.split("/", 2)[2]: value for key, value in golden.items()
                 if key.startswith(f"{name}/inputs/")}
        assert set(given) | set(about[name]["filled"]) == set(program.inputs)
        assert all(len(value) <= 2048 for key, value in golden.items() if "/outputs/" in key)


def test_golden_answers_stay_small_for_large_vocabularies():
    def apply(params, inputs, *, stats=None, cache=None, key=None, train=False):
        logits = jax.nn.one_hot(inputs["tokens"], 50_000) * params["w"]
        return {"logits": logits, "sequence": logits, "cache": cache}

    model = Model(lambda key, inputs: None, apply, lambda params, rows, length: {
        name: jnp.zeros((1, rows, length, 1, 1)) for name in ("k", "v")})
    weights = {"params": {"w": np.ones(50_000, np.float32)}}
    golden = golden_answers(decoder_programs(model, weights), weights, vocab_size=50_000)
    assert sum(array.nbytes for array in golden.arrays.values()) < 60_000
    assert golden.about["prefill"]["sizes"] == {"b": 2, "l": LENGTH, "n": 2, "p": 8, "m": 5}


def test_golden_call_of_large_images_has_one_row():
    model = Model(lambda key, inputs: None, lambda params, inputs, **more: {
        "pooled": inputs["image"].mean((1, 2)) @ params["w"]})
    weights = {"params": {"w": np.ones((3, 4), np.float32)}}
    for side, rows in ((64, 2), (128, 1)):
        programs = encoder_programs(model, weights, image=(side, side, 3))
        assert golden_answers(programs, weights).about["embed"]["sizes"] == {"b": rows}


def test_functions_of_an_encoder_with_a_head_and_tokens():
    def apply(params, inputs, *, stats=None, cache=None, key=None, train=False):
        rows = inputs["image"].reshape(inputs["image"].shape[0], 4, -1)
        return {"pooled": rows.mean(1) @ params["w"], "sequence": rows @ params["w"]}

    model, draw = Model(lambda key, inputs: None, apply), np.random.default_rng(0)
    weights = {"params": {"w": draw.random((3, 5), np.float32)},
               "head": {"w": draw.random((5, 7), np.float32), "b": draw.random(7, np.float32)}}
    programs = encoder_programs(model, weights, image=(2, 2, 3))
    assert set(programs) == {"embed", "sequence", "classify"}
    image = draw.random((3, 2, 2, 3), np.float32)
    answers = {name: export.deserialize(bytearray(p.data)).call(weights, {"image": image})
               for name, p in programs.items()}
    pooled = image.reshape(3, 4, 3).mean(1) @ weights["params"]["w"]
    np.testing.assert_allclose(answers["embed"]["pooled"], pooled, rtol=1e-5)
    np.testing.assert_allclose(answers["sequence"]["sequence"].mean(1), pooled, rtol=1e-5)
    np.testing.assert_allclose(answers["classify"]["logits"],
                               pooled @ weights["head"]["w"] + weights["head"]["b"], rtol=1e-5)
