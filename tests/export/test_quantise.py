"""Eight bits lose at most half a step of their channel, and the program gets the same numbers."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import export

from ssljax.core.tree import count
from ssljax.core.types import Model
from ssljax.export.golden import golden_answers
from ssljax.export.quality import decoder_difference, encoder_difference, neighbours
from ssljax.export.quantise import KINDS, dense, is_packed, quantise
from ssljax.export.stablehlo import encoder_programs


def weights():
    """Return weights of many names with a channel far larger than the others, and one of zeros."""
    draw = np.random.default_rng(0)
    shapes = {"w_qkv": (2, 32, 3, 4, 8), "w_out": (2, 4, 8, 32), "w_up": (32, 64),
              "embedding": (50, 32), "w_up_e": (4, 32, 64), "w_router": (64, 64), "scale": (2048,),
              "b_up": (2, 1024), "w_small": (4, 4), "position_table": (64, 32)}
    tree = {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    tree["embedding"][3] *= 1000
    tree["w_up"][:, 5] = 0
    return {"params": tree}


@pytest.mark.parametrize(("kind", "step"), [("int8", 1 / 254), ("fp8", 2**-4)])
def test_error_is_within_half_a_step_of_its_own_channel(kind, step):
    before = weights()["params"]
    small = quantise({"params": before}, kind)["params"]
    packed = {name for name, node in small.items() if is_packed(node)}
    assert packed == {"w_qkv", "w_out", "w_up", "embedding", "w_up_e"}
    after = dense(small)
    for name, axes in {"w_qkv": (1,), "w_out": (1, 2), "w_up": (0,), "embedding": (1,),
                       "w_up_e": (1,)}.items():
        peak = np.abs(before[name]).max(axis=axes, keepdims=True)
        assert small[name]["scale"].shape == peak.shape
        # e4m3 has steps in proportion to a number, down to its smallest: 2**-10 of the peak is
        # below that.
        limit = step * (peak if kind == "int8" else np.abs(before[name]) + peak * 2**-10)
        assert (np.abs(np.asarray(after[name]) - before[name]) <= limit * 1.001).all(), name
    assert not np.asarray(after["w_up"])[:, 5].any()
    for name in set(before) - packed:
        assert small[name] is before[name]


def test_rounding_is_to_the_nearest_of_levels_in_proportion():
    row = np.zeros((2, 1024), np.float32)
    row[0, :5], row[1, 0] = [127, 1.4, 1.6, -2.5, -127], 1.0
    small = quantise({"embedding": row}, "int8")["embedding"]
    assert small["int8"][0, :5].tolist() == [127, 1, 2, -2, -127]
    assert small["int8"].dtype == np.int8
    assert small["scale"].tolist() == [[1.0], [1 / np.float32(127)]]
    small = quantise({"embedding": row}, "fp8")["embedding"]
    right = (row[0] / (np.float32(127) / 448)).astype(ml_dtypes.float8_e4m3fn)
    np.testing.assert_array_equal(small["fp8"][0].view(ml_dtypes.float8_e4m3fn), right)


@pytest.mark.parametrize("kind", KINDS)
def test_a_quarter_of_the_bytes_and_every_number_is_finite(kind):
    before = weights()
    small = quantise(before, kind)
    assert count(dense(small)) == count(before)
    sizes = [sum(leaf.nbytes for leaf in jax.tree.leaves(t["params"]["w_up"]))
             for t in (before, small)]
    assert sizes[1] <= sizes[0] / 4 + 64 * 4
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(dense(small)))


def linear_model():
    """Return a network of one matrix, and its weights."""
    def apply(params, inputs, *, stats=None, cache=None, key=None, train=False):
        rows = inputs["image"].reshape(inputs["image"].shape[0], -1)
        return {"pooled": rows @ params["w_in"]}

    w = np.random.default_rng(1).standard_normal((48, 32)).astype(np.float32)
    return Model(lambda key, inputs: None, apply), {"params": {"w_in": w}}


@pytest.mark.parametrize("kind", KINDS)
def test_program_takes_the_stored_weights_and_agrees_with_the_rounded_model(kind):
    model, full = linear_model()
    small = quantise(full, kind)
    program = encoder_programs(model, small, image=(4, 4, 3))["embed"]
    image = np.random.default_rng(0).random((5, 4, 4, 3), np.float32)
    here = export.deserialize(bytearray(program.data)).call(small, {"image": image})["pooled"]
    right = model.apply(dense(small)["params"], {"image": jnp.asarray(image)})["pooled"]
    np.testing.assert_allclose(here, right, rtol=1e-5, atol=1e-5)
    golden = golden_answers({"embed": program}, small).arrays
    image = golden["embed/inputs/image"]
    right = model.apply(dense(small)["params"], {"image": jnp.asarray(image)})["pooled"]
    np.testing.assert_allclose(golden["embed/outputs/pooled/entries"], right.ravel(), rtol=1e-4,
                               atol=1e-4)


def test_difference_of_an_encoder_is_none_for_itself_and_grows_with_the_error():
    model, full = linear_model()
    same = encoder_difference(model, full, full, image=(4, 4, 3))
    assert same["cosine_least"] == pytest.approx(1) and same["relative_error"] == 0
    assert same["same_neighbour"] == 1
    int8, fp8 = (encoder_difference(model, full, quantise(full, kind), image=(4, 4, 3))
                 for kind in KINDS)
    assert 0 < int8["relative_error"] < 0.01 < fp8["relative_error"] < 0.06
    assert 0.998 < fp8["cosine_mean"] < int8["cosine_mean"] < 1
    assert fp8["same_neighbour"] > 0.7
    noise = {"params": {"w_in": full["params"]["w_in"][::-1]}}
    assert encoder_difference(model, full, noise, image=(4, 4, 3))["same_neighbour"] < 0.5


def test_neighbours_are_of_other_rows_by_cosine():
    vectors = np.array([[1.0, 0], [100, 1], [0, 1], [0.1, 30]])
    assert neighbours(vectors).tolist() == [1, 0, 3, 2]


def test_difference_of_a_decoder_is_the_divergence_of_its_distributions():
    def apply(params, inputs, *, stats=None, cache=None, key=None, train=False):
        logits = jnp.broadcast_to(params["w"], (*inputs["tokens"].shape, 4))
        return {"logits": logits}

    model = Model(lambda key, inputs: None, apply)
    even = {"params": {"w": np.array([0.0, 0, 0, 9], np.float32)}}
    odd = {"params": {"w": np.log(np.array([0.5, 0.25, 0.25, 1e-9], np.float32))}}
    found = decoder_difference(model, even, odd, vocab_size=3, context=8)
    # Of three equal chances against a half and two quarters, in bits; the fourth id is padding.
    right = np.log2(1 / 3) - np.mean(np.log2([0.5, 0.25, 0.25]))
    assert found["divergence_bits"] == pytest.approx(right, rel=1e-5)
    assert found["same_top_token"] == 1
