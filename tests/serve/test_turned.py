"""Turned matrices: as they were when turned back, and programs of them answer the same."""

import jax
import numpy as np

from ssljax.serve.turned import as_stored, is_turned, of_turned, turning


def place(name, array):
    return jax.device_put(array)


def test_what_is_summed_comes_last_and_goes_back():
    draw = np.random.default_rng(0)
    stored = {"a": {"w_qkv": draw.random((4, 3, 2, 5)), "w_out": draw.random((2, 5, 4))},
              "w_up": draw.random((4, 6)), "experts": {"w_up": draw.random((2, 4, 6))},
              "embedding": draw.random((7, 4))}
    turn = turning(place)
    turned = {"a": {n: turn(f"a/{n}", w) for n, w in stored["a"].items()},
              "w_up": turn("w_up", stored["w_up"]),
              "embedding": turn("embedding", stored["embedding"]),
              "experts": {"w_up": turn("experts/w_up", stored["experts"]["w_up"])}}
    assert turned["a"]["w_qkv"]["turned"].shape == (3, 2, 5, 4)
    assert turned["a"]["w_out"]["turned"].shape == (4, 2, 5)
    assert not is_turned(turned["experts"]["w_up"]) and not is_turned(turned["embedding"])
    for one, two in zip(jax.tree.leaves(stored), jax.tree.leaves(as_stored(turned)), strict=True):
        np.testing.assert_array_equal(np.float32(one), two)
    assert of_turned(lambda w, inputs: w["w_up"].shape)(turned, {}) == (4, 6)


def test_a_decoder_on_one_cpu_is_turned(artefact):
    layer = artefact.weights["params"]["decoder"]["blocks"]["0"]
    assert is_turned(layer["attention"]["w_qkv"]) and is_turned(layer["mlp"]["w_down"])
